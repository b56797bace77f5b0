-- sliding_window: the conservative sub-bucket log; the Rust twin is src/limit/sliding_window.rs.
--
-- KEYS          none of its own: decide.lua reads and writes the keys, in one atomic call.
-- ARGV          per key: quota, window (microseconds), tick (microseconds).
-- Stored value  binary, big-endian: width of a count in bytes (1 byte: 3 or 6), tick (6 bytes),
--               index of the newest record (6 bytes), the running count before the first record
--               (width bytes), then oldest first one record a tick: index modulo 256 (1 byte) and
--               the running count after it (width bytes, modulo 2^(8 * width)). A tick ends at
--               index * tick microseconds since the epoch; its units count until one window later.
--               Running counts make "how much lies before record i" one read instead of a sum.
-- Reply         none of its own: decide.lua returns the value as it was read.
-- Atomicity     read, decide and write happen within one script call.
-- Clock         microseconds, handed in by decide.lua.

local sliding_window = {}
local byte, sub, pack, decode = string.byte, string.sub, struct.pack, struct.unpack
local HEADER = '>BI6I6'
local HEAD = 13
local EXACT_MAX = 9007199254740992

local function count_format(width) return width == 3 and '>I3' or '>I6' end
local function count_modulus(width) return width == 3 and 16777216 or 281474976710656 end

-- The header of a stored value, or nil if this script did not write it.
local function header(value)
  if not value or #value < HEAD then return nil end
  local width, tick, newest = decode(HEADER, value)
  if width ~= 3 and width ~= 6 then return nil end
  local records = (#value - HEAD - width) / (width + 1)
  if records < 1 or records > 255 or records % 1 ~= 0 then return nil end
  if tick == 0 or newest * tick >= EXACT_MAX then return nil end
  return width, tick, newest, records
end

-- A value of `n` records: their ticks, and the running count after each.
local function assemble(standing, width, ticks, counts, n)
  local format = count_format(width)
  local parts = { pack(HEADER, width, standing.tick, ticks[n]), pack(format, 0) }
  for i = 1, n do
    parts[i + 2] = string.char(ticks[i] % 256) .. pack(format, counts[i])
  end
  return table.concat(parts)
end

-- Writes the value anew in the policy's ticks: each record rounded up, none beyond the present.
local function reread(value, standing, width, tick, newest, records)
  local format, modulus = count_format(width), count_modulus(width)
  local before = decode(format, value, HEAD + 1)
  local ticks, counts, n, total = {}, {}, 0, 0
  for i = 0, records - 1 do
    local at = HEAD + width + i * (width + 1) + 1
    local count = decode(format, value, at + 1)
    local index = math.ceil((newest - (newest - byte(value, at)) % 256) * tick / standing.tick)
    if index > standing.present then index, standing.repaired = standing.present, true end
    if index * standing.tick + standing.window > standing.now then
      if ticks[n] ~= index then n = n + 1 end
      total = total + (count - before) % modulus
      ticks[n], counts[n] = index, total
    end
    before = count
  end
  if n == 0 then return nil end
  return assemble(standing, math.max(width, standing.width), ticks, counts, n)
end

-- Finds the first record that still counts, and how much the records from there on add up to.
local function find_live(standing, value, width, newest, records)
  local oldest = math.floor((standing.now - standing.window) / standing.tick) + 1
  if newest < oldest then return end
  local step, base = width + 1, HEAD + width + 1
  local first, last = 0, records - 1
  while first < last do
    local middle = math.floor((first + last) / 2)
    local index = newest - (newest - byte(value, base + middle * step)) % 256
    if index >= oldest then last = middle else first = middle + 1 end
  end
  local format = count_format(width)
  standing.value, standing.width, standing.newest = value, width, newest
  standing.from, standing.to = base + first * step, base + records * step - 1
  -- The count before a record lies right in front of it: the previous record's, or the header's.
  standing.before = decode(format, value, standing.from - width)
  standing.total = decode(format, value, standing.to - width + 1)
  standing.used = (standing.total - standing.before) % count_modulus(width)
end

function sliding_window.read(value, now, quota, window, tick)
  local standing = {
    now = now, quota = quota, window = window, tick = tick, present = math.ceil(now / tick),
    width = quota < 16777216 and 3 or 6, used = 0, added = 0,
  }
  local width, tick_stored, newest, records = header(value)
  if not width then return standing end
  local longer = tick_stored < tick
  if tick_stored ~= tick or newest > standing.present or width < standing.width then
    value = reread(value, standing, width, tick_stored, newest, records)
    width, tick_stored, newest, records = header(value)
    if not width then return standing end
  end
  -- A longer window: the value is kept as long, also if nothing is charged.
  standing.outlives = longer
  find_live(standing, value, width, newest, records)
  return standing
end

function sliding_window.has_room(standing, cost)
  return standing.used + cost <= standing.quota
end

function sliding_window.charge(standing, cost)
  standing.used, standing.added = standing.used + cost, standing.added + cost
end

-- Charges `cost` units, or as many as there is room for.
function sliding_window.fill(standing, cost)
  sliding_window.charge(standing, math.max(0, math.min(cost, standing.quota - standing.used)))
end

-- Returns the value to store and the microseconds until it says no more than its absence would.
function sliding_window.write(standing)
  local present, width = standing.present, standing.width
  local ttl = present * standing.tick + standing.window - standing.now
  if standing.added == 0 then return standing.value, ttl end
  local format, kept = count_format(width), ''
  local before, total = standing.before or 0, standing.total or 0
  if standing.value then
    local to = standing.to
    if standing.newest == present then to = to - width - 1 end
    kept = sub(standing.value, standing.from, to)
  end
  total = (total + standing.added) % count_modulus(width)
  return pack(HEADER, width, standing.tick, present) .. pack(format, before) .. kept
    .. string.char(present % 256) .. pack(format, total), ttl
end

-- Units by tick of what counts in a standing.
local function live(standing)
  local units, before = {}, standing.before
  if not standing.value then return units end
  local value, width, newest = standing.value, standing.width, standing.newest
  local format, modulus = count_format(width), count_modulus(width)
  for at = standing.from, standing.to, width + 1 do
    local count = decode(format, value, at + 1)
    units[newest - (newest - byte(value, at)) % 256] = (count - before) % modulus
    before = count
  end
  return units
end

-- Makes `units`, by tick, what counts in a standing.
local function rebuild(standing, units)
  local ticks, counts, total = {}, {}, 0
  for index in pairs(units) do ticks[#ticks + 1] = index end
  table.sort(ticks)
  for i = 1, #ticks do
    total = math.min(total + units[ticks[i]], count_modulus(6) - 1)
    counts[i] = total
  end
  standing.used, standing.added, standing.value = total, 0, nil
  standing.before, standing.total = 0, total
  if #ticks == 0 then return end
  local width = math.max(total < count_modulus(3) and 3 or 6, standing.width)
  local value = assemble(standing, width, ticks, counts, #ticks)
  find_live(standing, value, width, ticks[#ticks], #ticks)
end

-- Takes `units` units out of the tick of `at`, as far as they are there.
function sliding_window.refund(standing, units, at)
  local index, counted = math.ceil(at / standing.tick), live(standing)
  if standing.added > 0 then
    counted[standing.present] = (counted[standing.present] or 0) + standing.added
  end
  if not counted[index] then return end
  counted[index] = math.max(0, counted[index] - units)
  if counted[index] == 0 then counted[index] = nil end
  rebuild(standing, counted)
end

-- The worse of a standing and the value `seen`, and the value `charged` on top, room or not.
function sliding_window.merge(standing, seen, charged)
  local function read(value)
    return live(sliding_window.read(value, standing.now, standing.quota, standing.window, standing.tick))
  end
  local units = live(standing)
  for index, count in pairs(read(seen)) do units[index] = math.max(units[index] or 0, count) end
  for index, count in pairs(read(charged)) do units[index] = (units[index] or 0) + count end
  rebuild(standing, units)
end
