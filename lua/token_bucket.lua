-- token_bucket: GCRA in exact rational arithmetic; the Rust twin is src/limit/token_bucket.rs.
--
-- KEYS          none of its own: decide.lua reads and writes the keys, in one atomic call.
-- ARGV          per key: numerator (parts a unit costs), denominator (parts in a microsecond),
--               cap (parts of a full debt); all integers, every sum below 2^53.
-- Stored value  the theoretical arrival time in microseconds since the epoch, as 16 decimal digits
--               (the years 2001 to 2286), so that Redis keeps it as a bare integer. A fraction that is not zero follows:
--               as three digits if the denominator is at most 1000 (the whole is then 19 digits
--               long and still a bare integer), else as ":<parts>".
-- Reply         none of its own: decide.lua returns the value as it was read.
-- Atomicity     read, decide and write happen within one script call.
-- Clock         microseconds, handed in by decide.lua.

local token_bucket = {}
local AT_DIGITS = 16
-- A longer value was not written by this script; what is no longer is exact.
local VALUE_MAX = 32

function token_bucket.read(value, now, numerator, denominator, cap)
  local standing = { now = now, unit = numerator, parts = denominator, cap = cap, debt = 0 }
  if not value or #value > VALUE_MAX then return standing end
  local at, fraction
  if string.find(value, '%D') then
    at, fraction = string.match(value, '^(%d+):(%d+)$')
    at, fraction = tonumber(at), tonumber(fraction)
  else
    at, fraction = tonumber(string.sub(value, 1, AT_DIGITS)), tonumber(string.sub(value, AT_DIGITS + 1)) or 0
  end
  if not at then return standing end
  -- A fraction that this denominator cannot have comes from another quota: round it up.
  if fraction >= denominator then at, fraction = at + 1, 0 end
  local debt = (at - now) * denominator + fraction
  if debt > cap then
    -- The clock stepped back, or the burst was lowered: a full debt, written even on a denial.
    debt, standing.repaired = cap, true
  end
  if debt > 0 then standing.debt = debt end
  return standing
end

function token_bucket.has_room(standing, cost)
  return standing.debt + cost * standing.unit <= standing.cap
end

function token_bucket.charge(standing, cost)
  standing.debt = standing.debt + cost * standing.unit
end

-- Charges `cost` units, or as many as make the debt full.
function token_bucket.fill(standing, cost)
  standing.debt = math.min(standing.debt + cost * standing.unit, standing.cap)
end

-- Gives `units` units back that were charged at `at`, as far as they may be unpaid.
function token_bucket.refund(standing, units, at)
  local paid = math.max(0, standing.now - at) * standing.parts
  standing.debt = math.max(0, standing.debt - math.max(0, units * standing.unit - paid))
end

-- Returns the value to store and the microseconds until it says no more than its absence would.
function token_bucket.write(standing)
  local debt, parts = standing.debt, standing.parts
  local fraction = debt % parts
  local micros = (debt - fraction) / parts
  local at = standing.now + micros
  if fraction == 0 then return string.format('%d', at), micros end
  if parts <= 1000 then return string.format('%d%03d', at, fraction), micros + 1 end
  return string.format('%d:%d', at, fraction), micros + 1
end

-- The worse of a standing and the value `seen`, and `charged` parts on top, room or not.
function token_bucket.merge(standing, seen, charged)
  local other = token_bucket.read(seen, standing.now, standing.unit, standing.parts, standing.cap)
  local debt = math.max(standing.debt, other.debt) + (tonumber(charged) or 0)
  standing.debt = math.min(debt, standing.cap)
end
