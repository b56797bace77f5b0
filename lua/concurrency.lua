-- concurrency: so many permits at once; the Rust twin is src/limit/concurrency.rs.
--
-- KEYS          none of its own: decide.lua and permits.lua name the keys, in one atomic call.
-- ARGV          per key: quota, the life of a permit in microseconds, how many permits the gateway
--               has given back that may still stand here; then those permits.
-- Stored value  a sorted set: permits by the microsecond at which each ends. One that ends later
--               than a life from now comes from before the clock was set back: it does not count,
--               and who still holds it says so when it renews it.
-- Reply         none of its own: decide.lua returns how many were counted.
-- Atomicity     read, decide and write happen within one script call.
-- Clock         microseconds, handed in by whoever calls.

local concurrency = {}
local KEPT_MS = 86400000

-- The permits of `key` that count, and whether something else stands there: that counts as none.
function concurrency.count(key, now, life)
  local last = string.format('%d', now + life)
  local live = redis.pcall('ZCOUNT', key, string.format('(%d', now), last)
  if type(live) == 'number' then return live, false end
  if string.find(live.err, 'WRONGTYPE', 1, true) then return 0, true end
  return redis.call('ZCOUNT', key, string.format('(%d', now), last), false
end

-- How `key` stands; the permits from ARGV[first] on, `freed` of them, have been given back.
function concurrency.read(key, now, quota, life, freed, first)
  local live, foreign = concurrency.count(key, now, life)
  for i = first, first + freed - 1 do
    local ends = not foreign and tonumber(redis.call('ZSCORE', key, ARGV[i]) or 0) or 0
    if ends > now and ends <= now + life then live = live - 1 end
  end
  return { quota = quota, life = life, now = now, counted = live, live = live, foreign = foreign, permits = {} }
end

function concurrency.has_room(standing)
  return standing.live < standing.quota
end

-- Takes `permit`; 0 is none, and nothing stays of it.
function concurrency.charge(standing, permit)
  standing.live = standing.live + 1
  if permit > 0 then standing.permits[#standing.permits + 1] = string.format('%d', permit) end
end

-- Writes that `permits` are held from now on for a life, and forgets what no longer counts.
function concurrency.hold(key, permits, foreign, now, life, spare_ms)
  if #permits == 0 then return end
  -- This deletes it; DEL would be a right more that a user of Redis needs.
  if foreign then redis.call('PEXPIRE', key, '0') end
  local ends, members = string.format('%d', now + life), {}
  for i, permit in ipairs(permits) do
    members[2 * i - 1], members[2 * i] = ends, permit
  end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%d', now))
  redis.call('ZREMRANGEBYSCORE', key, '(' .. ends, '+inf')
  redis.call('ZADD', key, unpack(members))
  -- Much longer than a life: a Redis that evicts what ends soonest would give permits away first.
  -- Each has its own end, and of a set without members nothing stays.
  redis.call('PEXPIRE', key, string.format('%d', math.ceil(life / 1000) + KEPT_MS + spare_ms))
end
