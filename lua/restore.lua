-- restore: writes states that a gateway knows better than Redis, each only if Redis still holds
-- what the gateway takes it to hold. What is written is worked out in src/store/local/slot.rs.
--
-- KEYS          the keys, each once.
-- ARGV          three for each key: the value it is taken to hold ("" for none), the new value,
--               its time to live in milliseconds.
-- Stored value  as token_bucket.lua and sliding_window.lua say.
-- Reply         [1] the clock in microseconds; then for each key 1 if it was written, else the
--               value it holds (nil for none).
-- Atomicity     every comparison and every write in one call: no charge made meanwhile is lost.
-- Clock         Redis' TIME, read once.

local time = redis.call('TIME')
local values = redis.call('MGET', unpack(KEYS))
local reply = { time[1] * 1000000 + time[2] }
for k = 1, #KEYS do
  local at = 3 * k - 2
  reply[k + 1] = values[k]
  if (values[k] or '') == ARGV[at] then
    redis.call('SET', KEYS[k], ARGV[at + 1], 'PX', ARGV[at + 2])
    reply[k + 1] = 1
  end
end
return reply
