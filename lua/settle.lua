-- settle: charges more, or gives back, what requests turned out to cost; the Rust twin is
-- `Standing::adjust` in src/limit/standing.rs. The file is loaded behind those of the algorithms.
--
-- KEYS          every key that is settled, each once.
-- ARGV          [1] "0": the clock is Redis' own; a test may give microseconds since the epoch; then
--               keys live a day longer, as in decide.lua. [2] a number that the reply repeats.
--               Then four for each key: the algorithm's letter and three parameters, as in
--               decide.lua. Then five for each adjustment: position of its key (from 1), units to
--               charge, units of the whole limit to give back, and of the charge that is given back:
--               when it was made, and of a calendar when its period ends (microseconds).
-- Stored value  as the algorithms say; a key with nothing left in it ends at once.
-- Reply         [1] the clock in microseconds; [2] the number of the call; then the value of each
--               key as it is now (nil for none).
-- Atomicity     one call. A charge takes as much as there is room for; what is given back is no more
--               than still counts of the charge. A call that is sent again would settle again.
-- Clock         Redis' TIME, read once.

local algorithms = { t = token_bucket, s = sliding_window, c = calendar }
local args, keys, call = ARGV, KEYS, redis.call
local now, spare_ms = tonumber(args[1]), 86400000
if now == 0 then
  local time = call('TIME')
  now, spare_ms = time[1] * 1000000 + time[2], 0
end

local values = call('MGET', unpack(keys))
local standings, algorithm_of = {}, {}
local at = 3
for k = 1, #keys do
  local algorithm = algorithms[args[at]]
  algorithm_of[k] = algorithm
  standings[k] = algorithm.read(values[k], now, tonumber(args[at + 1]), tonumber(args[at + 2]), tonumber(args[at + 3]))
  at = at + 4
end

for i = at, #args, 5 do
  local k, charge, refund = tonumber(args[i]), tonumber(args[i + 1]), tonumber(args[i + 2])
  if charge > 0 then algorithm_of[k].fill(standings[k], charge) end
  if refund > 0 then
    algorithm_of[k].refund(standings[k], refund, tonumber(args[i + 3]), tonumber(args[i + 4]))
  end
end

local reply = { now, tonumber(args[2]) }
for k = 1, #keys do
  local value, ttl_us = algorithm_of[k].write(standings[k])
  if value and ttl_us > 0 then
    call('SET', keys[k], value, 'PX', string.format('%d', math.ceil(ttl_us / 1000) + spare_ms))
    reply[k + 2] = value
  else
    -- An empty value is none. DEL would be a right more that a user of Redis needs.
    if values[k] then call('SET', keys[k], '', 'PX', '1') end
    reply[k + 2] = false
  end
end
return reply
