-- permits: a gateway tells which permits it holds and which it has given back; the Rust twin is
-- `Permits` in src/store/permits.rs. The file is loaded behind concurrency.lua.
--
-- KEYS          every key that is told about, each once.
-- ARGV          [1] "0": the clock is Redis' own; a test may give microseconds since the epoch;
--               then keys live a day longer, as in decide.lua.
--               [2] a number that the reply repeats; [3] the life of a permit in microseconds.
--               Then for each key: how many permits are held, how many were given back, and these
--               permits in this order.
-- Stored value  as concurrency.lua says; every key has a time to live.
-- Reply         [1] the clock in microseconds; [2] the number of the call.
-- Atomicity     one call. A held permit lasts a life from now on, whether or not it stands here:
--               who holds it knows better than a Redis that has lost its memory. There may be more
--               of them than the quota.
-- Clock         Redis' TIME, read once.

local now, life, spare_ms = tonumber(ARGV[1]), tonumber(ARGV[3]), 86400000
if now == 0 then
  local time = redis.call('TIME')
  now, spare_ms = time[1] * 1000000 + time[2], 0
end
local at = 4
for k = 1, #KEYS do
  local held, freed = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local _, foreign = concurrency.count(KEYS[k], now, life)
  if freed > 0 and not foreign then
    redis.call('ZREM', KEYS[k], unpack(ARGV, at + 2 + held, at + 1 + held + freed))
  end
  concurrency.hold(KEYS[k], { unpack(ARGV, at + 2, at + 1 + held) }, foreign, now, life, spare_ms)
  at = at + 2 + held + freed
end
return { now, tonumber(ARGV[2]) }
