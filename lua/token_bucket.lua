-- token_bucket: GCRA in exact rational arithmetic; the Rust twin is src/limit/token_bucket.rs.
--
-- KEYS          none of its own: decide.lua reads and writes the keys, in one atomic call.
-- ARGV          per key: numerator (parts a unit costs), denominator (parts in a microsecond),
--               cap (parts of a full debt); all integers, every sum below 2^53.
-- Stored value  "<at>:<parts>:<numerator>:<denominator>": the theoretical arrival time in
--               microseconds since the epoch, parts of one on top, and the rate that both are
--               counted in, so that a debt is so many units also under another rate. Version 0.1.0
--               wrote no rate: 16 digits of microseconds, and behind them three of parts, or
--               ":<parts>".
-- Reply         none of its own: decide.lua returns the value as it was read.
-- Atomicity     read, decide and write happen within one script call.
-- Clock         microseconds, handed in by decide.lua.

local token_bucket = {}
local AT_DIGITS = 16
-- A longer value was not written by this script; what is no longer is exact.
local VALUE_MAX = 72
local EXACT_MAX = 9007199254740992
-- A unit costs less: no window is longer than 366 days.
local UNIT_END = 35184372088832
-- Of a unit, what another rate made of it is exact to so many parts.
local PARTS_OF_UNIT = 256

-- The four numbers of a stored value, or nil if no version of this script wrote it.
local function parse(value, numerator, denominator)
  if not value or #value > VALUE_MAX then return nil end
  local at, parts, unit, per = string.match(value, '^(%d+):(%d+):(%d+):(%d+)$')
  if not at then
    unit, per = numerator, denominator
    at, parts = string.match(value, '^(%d+):(%d+)$')
    if not at and not string.find(value, '%D') then
      at, parts = string.sub(value, 1, AT_DIGITS), string.sub(value, AT_DIGITS + 1)
    end
  end
  at, parts, unit, per = tonumber(at), tonumber(parts) or 0, tonumber(unit), tonumber(per)
  if not at or at >= EXACT_MAX or parts >= EXACT_MAX then return nil end
  if unit == 0 or per == 0 or unit >= UNIT_END or per >= EXACT_MAX then return nil end
  return at, parts, unit, per
end

-- a / b, rounded up; exact where the division itself would not be.
local function divide_up(a, b)
  local rest = a % b
  return (a - rest) / b + (rest > 0 and 1 or 0)
end

-- A debt in parts of a rate, of which a unit cost `unit`, as parts of the standing's: as many
-- units, rounded up.
local function convert(standing, debt, unit)
  if debt >= EXACT_MAX then return standing.cap + 1 end
  local rest = debt % unit
  local units = (debt - rest) / unit
  -- More than a full debt is all the same.
  if units > standing.cap / standing.unit then return standing.cap + 1 end
  local fraction = divide_up(rest * PARTS_OF_UNIT, unit)
  return units * standing.unit + divide_up(fraction * standing.unit, PARTS_OF_UNIT)
end

function token_bucket.read(value, now, numerator, denominator, cap)
  local standing = { now = now, unit = numerator, parts = denominator, cap = cap, debt = 0 }
  local at, fraction, unit, per = parse(value, numerator, denominator)
  if not at then return standing end
  -- A fraction that this denominator cannot have comes from another quota: round it up.
  if fraction >= per then at, fraction = at + 1, 0 end
  local debt = (at - now) * per + fraction
  if debt > 0 and (unit ~= numerator or per ~= denominator) then
    debt = convert(standing, debt, unit)
    -- It may count for longer now: the value is kept as long, also if nothing is charged.
    standing.outlives = now + debt / denominator > at
  end
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

-- Gives `units` units back of a charge that may be paid off at `till`, as far as it is not.
function token_bucket.refund(standing, units, _, till)
  local unpaid = math.max(0, till - standing.now) * standing.parts
  standing.debt = math.max(0, standing.debt - math.min(units * standing.unit, unpaid))
end

-- Returns the value to store and the microseconds until it says no more than its absence would.
function token_bucket.write(standing)
  local debt, parts = standing.debt, standing.parts
  local fraction = debt % parts
  local micros = (debt - fraction) / parts
  local at = standing.now + micros
  if fraction > 0 then micros = micros + 1 end
  return string.format('%d:%d:%d:%d', at, fraction, standing.unit, parts), micros
end

-- The worse of a standing and the value `seen`, and `charged` parts on top, room or not.
function token_bucket.merge(standing, seen, charged)
  local other = token_bucket.read(seen, standing.now, standing.unit, standing.parts, standing.cap)
  local debt = math.max(standing.debt, other.debt) + (tonumber(charged) or 0)
  standing.debt = math.min(debt, standing.cap)
end
