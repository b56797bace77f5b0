-- lease: one gateway at a time.
--
-- KEYS          [1] the lease.
-- ARGV          [1] the name of this gateway; [2] milliseconds that the lease is its own.
-- Stored value  the name of the gateway that has it.
-- Reply         1 if it is this gateway's now, else 0.
-- Atomicity     one call.
-- Clock         Redis', by the time to live of the key.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
