-- meter: counts views; each once per item and subject in so long, or every one.
--
-- KEYS          [1] the open counts of the meter; [2] the gateway's own record of its calls; then
--               the keys of the subjects, each once.
-- ARGV          [1] the number of this call, larger than that of every call before; [2] seconds in
--               which a view of one item by one subject counts once, or 0 if every one counts;
--               [3] most items of the open counts; [4] most items that are remembered of a subject;
--               [5] milliseconds that the open counts are kept; [6] that the record is kept.
--               Then four for each view: position of the subject's key (0 if every view counts),
--               the item, its mark (a short hash), how many views these are.
-- Stored value  open: a hash, each item with its count, and `from`: the milliseconds of the first
--               view. Of a subject a sorted set: the marks of items by the second in which they
--               last counted. The record: number and results of the last call.
-- Reply         [1] the number of the call; views [2] that counted, [3] that had counted before,
--               [4] for which there was no room.
-- Atomicity     one call. A call that is sent again because its reply was lost counts nothing the
--               second time and gets the reply of the first.
-- Clock         Redis' TIME, read once. A mark from the future is moved to the present.

local call, format = redis.call, string.format
local number, span, items_max, marks_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local again, counted_before, known_before, full_before =
  string.match(call('GET', KEYS[2]) or '', '^(%d+) (%d+) (%d+) (%d+)$')
if again and tonumber(again) >= tonumber(number) then
  return { tonumber(number), tonumber(counted_before), tonumber(known_before), tonumber(full_before) }
end

local time = call('TIME')
local now, now_ms = tonumber(time[1]), time[1] * 1000 + math.floor(time[2] / 1000)
-- `from` is no item.
local items = math.max(0, call('HLEN', KEYS[1]) - 1)
local marks, counted, known, full = {}, 0, 0, 0

-- Forgets a few marks that have run down, and returns how many are left.
local function sweep(key)
  local old = call('ZRANGEBYSCORE', key, '-inf', format('(%d', now - span), 'LIMIT', 0, 64)
  if #old > 0 then call('ZREM', key, unpack(old)) end
  return call('ZCARD', key)
end

-- Whether a view of the marked item has counted within the span.
local function seen(key, mark)
  local last = tonumber(call('ZSCORE', key, mark) or nil)
  if last and last > now then
    call('ZADD', key, format('%d', now), mark)
    return true
  end
  return last and now - last <= span
end

local function has_room(key, item)
  if key and not marks[key] then marks[key] = sweep(key) end
  return (not key or marks[key] < marks_max)
    and (items < items_max or call('HEXISTS', KEYS[1], item) == 1)
end

for at = 7, #ARGV, 4 do
  local key, item, mark, times = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if key and seen(key, mark) then
    known = known + times
  elseif not has_room(key, item) then
    full = full + times
  else
    -- First what a user of Redis may lack the right to: if it fails, nothing has been written that
    -- a call that is sent again would count twice, or not at all.
    if counted == 0 then call('HSETNX', KEYS[1], 'from', format('%d', now_ms)) end
    if call('HINCRBY', KEYS[1], item, times) == times then items = items + 1 end
    if key then marks[key] = marks[key] + call('ZADD', key, format('%d', now), mark) end
    counted = counted + times
  end
end

-- A second more than the span: the clock of keys and this one may be a moment apart.
for key in pairs(marks) do call('PEXPIRE', key, format('%d', (span + 2) * 1000)) end
if counted > 0 then call('PEXPIRE', KEYS[1], ARGV[5]) end
call('SET', KEYS[2], format('%s %d %d %d', number, counted, known, full), 'PX', ARGV[6])
return { tonumber(number), counted, known, full }
