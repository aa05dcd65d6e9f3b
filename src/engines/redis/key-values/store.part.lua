-- The store of key-values, shared by the scripts of this folder. All keys are in one slot:
--   KEYS[1] entries   hash: name -> version (f64) .. expires at in ms (f64, inf: never) .. value
--   KEYS[2] names     sorted set, all scores 0: the names in their order
--   KEYS[3] changes   sorted set: name -> the version of its last change, deletes included
--   KEYS[4] deleted   sorted set: names that are no more -> the version of their end
--   KEYS[5] expiring  sorted set: name -> when it expires, in ms
--   KEYS[6] meta      hash: version (the last one given), forgotten (deletes up to this version are remembered no more)
-- A name is the key in CESU-8: in the order of its bytes it is in the order of the key's UTF-16 code units.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local last = tonumber(redis.call('HGET', KEYS[6], 'version') or '0')

-- Not below the clock: so a version that a crash or a failover has lost is not given again.
local function next_version()
  last = math.max(last + 1, now_us)
  redis.call('HSET', KEYS[6], 'version', string.format('%.0f', last))
  return last
end

local function put(name, version, expires, value, former_expires)
  if redis.call('HSET', KEYS[1], name, struct.pack('<dd', version, expires) .. value) == 1 then
    redis.call('ZADD', KEYS[2], 0, name)
    redis.call('ZREM', KEYS[4], name)
  end
  redis.call('ZADD', KEYS[3], string.format('%.0f', version), name)
  if expires ~= math.huge then
    redis.call('ZADD', KEYS[5], string.format('%.17g', expires), name)
  elseif former_expires ~= math.huge then
    redis.call('ZREM', KEYS[5], name)
  end
end

local function delete(name, version)
  local score = string.format('%.0f', version)
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZADD', KEYS[3], score, name)
  redis.call('ZADD', KEYS[4], score, name)
  redis.call('ZREM', KEYS[5], name)
end

-- Deletes are remembered for ten minutes, 100,000 of them at most; a watcher that was away for longer reads the state anew.
local function forget(limit)
  local old = redis.call('ZRANGE', KEYS[4], '-inf', string.format('%.0f', now_us - 600000000), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  if #old == 0 and redis.call('ZCARD', KEYS[4]) > 100000 then
    old = redis.call('ZRANGE', KEYS[4], 0, limit - 1, 'WITHSCORES')
  end
  if #old == 0 then return end
  for i = 1, #old, 2 do
    redis.call('ZREM', KEYS[4], old[i])
    redis.call('ZREM', KEYS[3], old[i])
  end
  redis.call('HSET', KEYS[6], 'forgotten', string.format('%.0f', tonumber(old[#old])))
end

-- Deletes what has expired, under a version of its own; answers whether anything had.
local function sweep(limit)
  local expired = redis.call('ZRANGE', KEYS[5], '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
  if #expired == 0 then return false end
  local version = next_version()
  for _, name in ipairs(expired) do delete(name, version) end
  forget(2 * limit)
  return true
end
