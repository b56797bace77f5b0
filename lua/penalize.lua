-- penalize: counts denials, and bans whom too many of them concern; the Rust twin is
-- `Ban::penalize` in src/limit/ban.rs. The file is loaded behind sliding_window.lua and ban.lua.
--
-- KEYS          two for each client and policy: the ban, then the count of denials.
-- ARGV          [1] "0": the clock is Redis' own; a test may give microseconds since the epoch;
--               then keys live a day longer, as in decide.lua.
--               [2] a number that the reply repeats.
--               Then six for each pair of keys: denials since the last call; how many within how
--               long are a ban, and the tick that they are counted in (the parameters of a
--               sliding_window); how long the first ban lasts, and the longest.
-- Stored value  as ban.lua and sliding_window.lua say; both have a time to live.
-- Reply         [1] the clock in microseconds; [2] the number of the call; [3] one digit for each
--               pair: "1" if a ban begins with this call; then the value of each ban as it is now
--               (nil for none).
-- Atomicity     one call. While a ban lasts nothing counts and nothing is written. With a ban the
--               count begins anew. A call whose reply is lost is not repeated: it may or may not
--               have been counted.
-- Clock         Redis' TIME, read once.

local call, format = redis.call, string.format
local now, spare_ms = tonumber(ARGV[1]), 86400000
if now == 0 then
  local time = call('TIME')
  now, spare_ms = time[1] * 1000000 + time[2], 0
end

local function set(key, value, ttl_us)
  call('SET', key, value, 'PX', format('%d', math.max(1, math.ceil(ttl_us / 1000)) + spare_ms))
end

local values = call('MGET', unpack(KEYS))
local made, reply = {}, { now, tonumber(ARGV[2]), '' }

for pair = 1, #KEYS / 2 do
  local at, theirs, counts = 6 * pair - 3, 2 * pair - 1, 2 * pair
  local denials, quota = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local sentence = ban.read(values[theirs], now, tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]))
  local count = sliding_window.read(values[counts], now, quota, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
  made[pair] = '0'
  if not ban.has_room(sentence) then
    reply[pair + 3] = values[theirs]
  elseif count.used + denials < quota then
    sliding_window.charge(count, denials)
    set(KEYS[counts], sliding_window.write(count))
    reply[pair + 3] = values[theirs]
  else
    made[pair] = '1'
    ban.begin(sentence)
    local value, ttl_us = ban.write(sentence)
    set(KEYS[theirs], value, ttl_us)
    -- An empty count is none. DEL would be a right more that a user of Redis needs.
    if values[counts] then call('SET', KEYS[counts], '', 'PX', '1') end
    reply[pair + 3] = value
  end
end

reply[3] = table.concat(made)
return reply
