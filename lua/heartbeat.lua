-- heartbeat: a gateway says that it lives, and learns how many do.
--
-- KEYS          [1] the set of gateways.
-- ARGV          [1] the name of this gateway; [2] microseconds without a heartbeat after which a
--               gateway no longer counts; [3] milliseconds that its heartbeat is remembered.
-- Stored value  a sorted set: the names of the gateways by the microseconds of their last
--               heartbeat.
-- Reply         [1] the clock in microseconds; [2] this gateway's last heartbeat as Redis
--               remembers it, 0 if it does not; [3] gateways that live, this one included.
-- Atomicity     one call.
-- Clock         Redis' TIME, read once.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - ARGV[3] * 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local live = redis.call('ZCOUNT', KEYS[1], string.format('%d', now - ARGV[2]), '+inf')
return { now, tonumber(last) or 0, live }
