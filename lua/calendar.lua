-- calendar: a quota over one period of the calendar; the Rust twin is src/limit/calendar.rs.
--
-- KEYS          none of its own: decide.lua reads and writes the keys, in one atomic call.
-- ARGV          per key: quota, beginning and end of the present period (microseconds since the
--               epoch, whole seconds). Which period is the present one, the gateway says.
-- Stored value  "<beginning>:<end>:<units>": the period that was counted in, in seconds since the
--               epoch, and the units that were admitted in it.
-- Reply         none of its own: decide.lua returns the value as it was read.
-- Atomicity     read, decide and write happen within one script call.
-- Clock         microseconds, handed in by decide.lua. Near the edge of the period it may lie a
--               little outside; the period that was handed in decides.

local calendar = {}
local SECOND_US = 1000000
-- What gateways may differ in their idea of the clock. A later period that begins within this time
-- has been begun by one that is a little ahead; if it begins later, the clock was set back. An
-- earlier period that lasts longer than this is not over: the gateway that says so is wrong.
local SKEW_US = 10000000
-- The longest period: 366 days.
local PERIOD_MAX = 31622400
-- A longer value was not written by this script: two moments and a count that are exact.
local COUNT_BYTES_MAX = 38
local SECONDS_END, UNITS_END = 9007199254, 9007199254740992

-- The period and the units of a stored value, or nil if this script did not write it.
local function parse(value)
  if not value or #value > COUNT_BYTES_MAX then return nil end
  local first, last, units = string.match(value, '^(%d+):(%d+):(%d+)$')
  first, last, units = tonumber(first), tonumber(last), tonumber(units)
  if not first or first >= last or last - first > PERIOD_MAX or last >= SECONDS_END then return nil end
  if units == 0 or units >= UNITS_END then return nil end
  return first * SECOND_US, last * SECOND_US, units
end

-- Less than zero if the period of `a` is older than that of `b`, zero if it is the same. What is
-- empty is older than everything.
local function compare(a, b)
  if a.used == 0 or b.used == 0 then return math.min(a.used, 1) - math.min(b.used, 1) end
  if a.first ~= b.first then return a.first - b.first end
  return a.last - b.last
end

function calendar.read(value, now, quota, first, last)
  local standing = { now = now, quota = quota, present = { first, last }, first = first, last = last, used = 0 }
  local from, to, units = parse(value)
  local soon = now + SKEW_US
  if not from or to <= first and to <= soon then return standing end
  standing.used = units
  if to <= first or from >= last and from <= soon then
    -- Somebody has begun a later period: the newest one wins. Or the present one is still to come,
    -- for whoever made the check was wrong about the clock.
    standing.first, standing.last = from, to
  elseif from ~= first or to ~= last then
    -- It was counted under another calendar, or the clock was set back: all of it counts in the
    -- present period, and is written so even on a denial.
    standing.repaired = true
  end
  return standing
end

function calendar.has_room(standing, cost)
  return standing.used + cost <= standing.quota
end

function calendar.charge(standing, cost)
  standing.used = standing.used + cost
end

-- Charges `cost` units, or as many as there is room for.
function calendar.fill(standing, cost)
  standing.used = standing.used + math.max(0, math.min(cost, standing.quota - standing.used))
end

-- Gives `units` units back that were charged in the period that ends at `till`.
function calendar.refund(standing, units, _, till)
  if standing.last == till then standing.used = math.max(0, standing.used - units) end
end

-- Returns the value to store and the microseconds until it says no more than its absence would.
function calendar.write(standing)
  local ttl = standing.last - standing.now
  if standing.used == 0 then return nil, ttl end
  local first, last = standing.first / SECOND_US, standing.last / SECOND_US
  return string.format('%d:%d:%d', first, last, standing.used), ttl
end

-- The worse of a standing and the value `seen`, and the value `charged` on top, room or not.
function calendar.merge(standing, seen, charged)
  local function read(value)
    return calendar.read(value, standing.now, standing.quota, standing.present[1], standing.present[2])
  end
  local function adopt(other)
    standing.first, standing.last, standing.used = other.first, other.last, other.used
  end
  local other = read(seen)
  local order = compare(other, standing)
  if order > 0 or order == 0 and other.used > standing.used then adopt(other) end
  local more = read(charged)
  order = compare(more, standing)
  if order > 0 then
    adopt(more)
  elseif order == 0 then
    standing.used = math.min(standing.used + more.used, UNITS_END - 1)
  end
end
