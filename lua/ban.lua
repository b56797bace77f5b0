-- ban: who goes on being denied is refused for a while; the Rust twin is src/limit/ban.rs.
--
-- KEYS          none of its own: decide.lua and penalize.lua read and write the keys, each in one
--               atomic call.
-- ARGV          per key: how long the first ban lasts and how long the longest (microseconds), and
--               a number that is not used.
-- Stored value  "<end>:<level>": when the ban ends, in microseconds since the epoch, and the how
--               manyth it is. It lives until the longest ban has passed since the end: so long it is
--               remembered how many there were.
-- Reply         none of its own: decide.lua returns the value as it was read.
-- Atomicity     a ban is never charged: requests only read it, with the exception of one that ends
--               later than the longest could (a clock stepped back, the longest was lowered); it is
--               cut and written. penalize.lua makes bans.
-- Clock         microseconds, handed in.

local ban = {}
local BAN_BYTES_MAX = 19
local LEVEL_MAX = 64
local ENDS_MAX = 9007199254740992

-- End and level of a stored value, or nil if no script of ours wrote it.
local function parse_ban(value)
  if not value or #value > BAN_BYTES_MAX then return nil end
  local ends, level = string.match(value, '^(%d+):(%d+)$')
  ends, level = tonumber(ends), tonumber(level)
  if not ends or ends >= ENDS_MAX or level == 0 or level > LEVEL_MAX then return nil end
  return ends, level
end

function ban.read(value, now, first, longest)
  local standing = { now = now, first = first, longest = longest, ends = 0, level = 0 }
  local ends, level = parse_ban(value)
  if not ends or ends + longest <= now then return standing end
  standing.ends, standing.level = math.min(ends, now + longest), level
  standing.repaired = ends > standing.ends
  return standing
end

function ban.has_room(standing)
  return standing.ends <= standing.now
end

-- The next ban: the first, or twice as long as the one before.
function ban.begin(standing)
  standing.level = math.min(standing.level + 1, LEVEL_MAX)
  standing.ends = standing.now + math.min(standing.first * 2 ^ (standing.level - 1), standing.longest)
end

-- Returns the value to store and the microseconds until it says no more than its absence would.
function ban.write(standing)
  if standing.level == 0 then return nil, 0 end
  return string.format('%d:%d', standing.ends, standing.level), standing.ends + standing.longest - standing.now
end

-- The worst of a standing and two values: the latest end and the highest level.
function ban.merge(standing, seen, made)
  for _, value in ipairs({ seen, made }) do
    local other = ban.read(value, standing.now, standing.first, standing.longest)
    standing.ends, standing.level = math.max(standing.ends, other.ends), math.max(standing.level, other.level)
  end
end
