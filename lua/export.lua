-- export: the batches of a meter: what is open becomes a batch, and stays one until it is
-- acknowledged.
--
-- KEYS          [1] the open counts; [2] the batches that are pending; [3] the number of the last
--               batch; and but to look [4] the batch, or to read what is open the open counts.
-- ARGV          [1] a number that the reply repeats, so that nobody takes it for that of another
--               call; [2] "look", "read", "close" or "acknowledge". To read, [3] where to go on (0
--               to begin) and [4] how many items to read about; else, but to look, [3] the name of
--               the batch. To close, [4] its number; [5] most pending batches; [6] milliseconds
--               that a batch is kept.
-- Stored value  open and each batch: a hash, see meter.lua; a batch also has `until`: the
--               milliseconds at which it was closed. Pending: a list of names, the oldest first.
-- Reply         [1] the number of the call. look: the clock in milliseconds, the number of the last
--               batch (0 for none), the milliseconds of the first open view (0 for none), how many
--               items are open, then the names of the pending batches. read: where to go on (0: all
--               is read), how many fields there are, then fields and their values; one may come
--               twice. close: "closed"; or "empty", there is nothing to close; or "full", too many
--               are pending; or "overtaken", another batch has this or a later number. acknowledge:
--               how often it was pending.
-- Atomicity     one call. A view is in one batch, and a batch never changes.
-- Clock         Redis' TIME, read once.

local call, format = redis.call, string.format
local number, what = tonumber(ARGV[1]), ARGV[2]
local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

if what == 'read' then
  local found = call('HSCAN', KEYS[4], ARGV[3], 'COUNT', ARGV[4])
  local reply = { number, tonumber(found[1]), call('HLEN', KEYS[4]) }
  for at = 1, #found[2] do reply[at + 3] = found[2][at] end
  return reply
end

if what == 'acknowledge' then
  -- In the background: a batch may hold many items.
  call('UNLINK', KEYS[4])
  return { number, call('LREM', KEYS[2], 0, ARGV[3]) }
end

local last = tonumber(call('GET', KEYS[3]) or 0) or 0
if what == 'look' then
  local from = tonumber(call('HGET', KEYS[1], 'from') or 0) or 0
  local items = math.max(0, call('HLEN', KEYS[1]) - 1)
  return { number, now_ms, last, from, items, unpack(call('LRANGE', KEYS[2], 0, -1)) }
end

-- `from` alone is no view.
if call('HLEN', KEYS[1]) <= 1 then return { number, 'empty' } end
if call('LLEN', KEYS[2]) >= tonumber(ARGV[5]) then return { number, 'full' } end
if last >= tonumber(ARGV[4]) then return { number, 'overtaken' } end
call('RENAME', KEYS[1], KEYS[4])
call('HSET', KEYS[4], 'until', format('%d', now_ms))
call('PEXPIRE', KEYS[4], ARGV[6])
call('RPUSH', KEYS[2], ARGV[3])
call('PEXPIRE', KEYS[2], ARGV[6])
call('SET', KEYS[3], ARGV[4], 'PX', ARGV[6])
return { number, 'closed' }
