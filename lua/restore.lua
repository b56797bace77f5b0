-- restore: tells Redis what a gateway knows better; the Rust twin is `Known` in
-- src/store/local/slot.rs. The file is loaded behind those of the algorithms.
--
-- KEYS          [1] the gateway's own record; then the keys, each once.
-- ARGV          [1] "0": the clock is Redis' own; a test may give microseconds since the epoch;
--               then keys live a day longer, as in decide.lua.
--               [2] the number of this call, larger than that of every call before, or 0 if it
--               charges nothing; [3] milliseconds that the record is kept.
--               Then six for each key: the algorithm's letter and three parameters, as in
--               decide.lua; the value that the gateway has seen ("" for none); what it has charged
--               since: parts of a token-bucket, a value of the others ("" for nothing).
-- Stored value  as the algorithms say; in the record the number of the last call that charged.
-- Reply         [1] the clock in microseconds; then the value of each key as it is now (nil for
--               none).
-- Atomicity     one call. No key ends up with less than Redis holds or the gateway has seen, and
--               what was charged comes on top, room or not. A call that is sent again because its
--               reply was lost charges nothing the second time.
-- Clock         Redis' TIME, read once.

local algorithms = { t = token_bucket, s = sliding_window, c = calendar, b = ban }
local now, number, spare_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), 86400000
if now == 0 then
  local time = redis.call('TIME')
  now, spare_ms = time[1] * 1000000 + time[2], 0
end
local values = redis.call('MGET', unpack(KEYS))
local reply = { now }
local again = (tonumber(values[1] or 0) or 0) >= number

for k = 2, #KEYS do
  local at = 6 * k - 8
  local algorithm = algorithms[ARGV[at]]
  local a, b, c = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local standing = algorithm.read(values[k], now, a, b, c)
  algorithm.merge(standing, ARGV[at + 4], again and '' or ARGV[at + 5])
  local value, ttl_us = algorithm.write(standing)
  if not value or ttl_us <= 0 then
    reply[k] = values[k]
  else
    reply[k] = value
    redis.call('SET', KEYS[k], value, 'PX', string.format('%d', math.ceil(ttl_us / 1000) + spare_ms))
  end
end
if number > 0 and not again then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return reply
