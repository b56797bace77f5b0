-- decide: all checks of a list of requests in one atomic step; the Rust twin is `decide` in
-- src/limit/decision.rs. The file is loaded behind those of the algorithms; for calls without "b"
-- and "n", behind the other three alone.
--
-- KEYS          every key that the requests speak of, each once.
-- ARGV          [1] "0": the clock is Redis' own. A test may give microseconds since the epoch;
--               then keys live a day longer, so that virtual time does not lose them.
--               [2] a number that the reply repeats, so that nobody takes it for that of another
--               call. Then four for each key: the algorithm's letter ("t", "s", "c", "b" or "n") and
--               three parameters; behind those of "n" permits, as concurrency.lua says. Then for
--               each request: the number of its checks, and three for each check: position of its
--               key (from 1), cost (of "n" the permit to be taken, 0 for none), "1" if the policy
--               is in shadow mode, else "0".
-- Stored value  as the algorithms say; every key has a time to live.
-- Reply         [1] the clock in microseconds; [2] the number of the call; [3] for each request,
--               joined by a comma, one digit for each check: "1" if it had room; then the value of
--               each key as it was read (of "n" the number of permits).
-- Atomicity     everything is read, then everything decided, then everything written. A request
--               is charged if all its enforced checks have room, or not at all; a shadow check is
--               charged if the request is and it has room itself. A later request sees what an
--               earlier one of the same call took. A denial writes nothing, with one exception: a
--               value that its policy and clock could not have produced (the clock stepped back,
--               a burst or window was lowered, a calendar
--               was changed) is cut to the worst that they could and written so. And a value
--               that counts for longer than whoever wrote it knew (the window was made longer)
--               gets a longer time to live.
-- Clock         Redis' TIME, read once.

local algorithms = { t = token_bucket, s = sliding_window, c = calendar, b = ban, n = concurrency }
local args, keys = ARGV, KEYS
local call, format = redis.call, string.format

local now, spare_ms = tonumber(args[1]), 86400000
if now == 0 then
  local time = call('TIME')
  now, spare_ms = time[1] * 1000000 + time[2], 0
end

local values = call('MGET', unpack(keys))
local standings, algorithm_of, dirty = {}, {}, {}
local at = 3
for k = 1, #keys do
  local algorithm = algorithms[args[at]]
  local a, b, c = tonumber(args[at + 1]), tonumber(args[at + 2]), tonumber(args[at + 3])
  local standing
  at = at + 4
  if algorithm == concurrency then
    -- A sorted set is no value that MGET gives.
    standing = concurrency.read(keys[k], now, a, b, c, at)
    values[k], at = standing.counted, at + c
  else
    standing = algorithm.read(values[k], now, a, b, c)
  end
  standings[k], algorithm_of[k], dirty[k] = standing, algorithm, standing.repaired
end

local answers = {}
while at <= #args do
  local last = at + 3 * tonumber(args[at])
  local rooms, pass = {}, true
  for i = at + 1, last, 3 do
    local k = tonumber(args[i])
    local room = algorithm_of[k].has_room(standings[k], tonumber(args[i + 1]))
    rooms[#rooms + 1] = room and '1' or '0'
    if not room and args[i + 2] == '0' then pass = false end
  end
  if pass then
    for i = at + 1, last, 3 do
      if rooms[(i - at + 2) / 3] == '1' then
        local k = tonumber(args[i])
        -- A ban is never charged.
        if algorithm_of[k].charge then
          algorithm_of[k].charge(standings[k], tonumber(args[i + 1]))
          dirty[k] = true
        end
      end
    end
  end
  answers[#answers + 1] = table.concat(rooms)
  at = last + 1
end

for k = 1, #keys do
  if dirty[k] and algorithm_of[k] == concurrency then
    local held = standings[k]
    concurrency.hold(keys[k], held.permits, held.foreign, now, held.life, spare_ms)
  elseif dirty[k] then
    local value, ttl_us = algorithm_of[k].write(standings[k])
    call('SET', keys[k], value, 'PX', format('%d', math.max(1, math.ceil(ttl_us / 1000)) + spare_ms))
  elseif standings[k].outlives then
    local _, ttl_us = algorithm_of[k].write(standings[k])
    call('SET', keys[k], values[k], 'PX', format('%d', math.max(1, math.ceil(ttl_us / 1000)) + spare_ms))
  end
end

local reply = { now, tonumber(args[2]), table.concat(answers, ',') }
for k = 1, #keys do reply[k + 3] = values[k] end
return reply
