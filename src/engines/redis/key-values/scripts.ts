// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const storePart = `-- The store of key-values, shared by the scripts of this folder. All keys are in one slot:
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
`;

export const changes: Script = {
  name: "key-values/changes",
  sha: "3d88dccea4918215b3686fce2211b2380b2a82c5",
  source: `-- Answers what has changed since a version, after deleting what has expired.
-- KEYS: as the store lists them below.
-- ARGV[1] the version
-- ARGV[2] '1': say which server this is
-- ARGV[3] after so many bytes of values the answer ends, where a version does
-- ARGV[4] the channel that wakes watchers
-- ARGV[5] and on: prefixes of the names that are asked for
-- Answers {server or nil, the version up to which this is complete, '1' if there is more now,
--          in how many ms the next key expires or -1, '1' if deletes since the version are forgotten or the version was never given,
--          name, version, entry or nil, name, version, entry or nil …} in the order of the versions.
${storePart}local since = tonumber(ARGV[1])
if sweep(500) then redis.call('PUBLISH', ARGV[4], '') end

local server = false
if ARGV[2] == '1' then server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end

local next_expiry = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')[2]
local wait = next_expiry and math.max(0, math.ceil(tonumber(next_expiry) - now)) or -1
local forgotten = tonumber(redis.call('HGET', KEYS[6], 'forgotten') or '0')
if since < forgotten or since > last then
  return {server, string.format('%.0f', last), '0', wait, '1'}
end

local function wanted(name)
  for index = 5, #ARGV do
    local prefix = ARGV[index]
    if string.sub(name, 1, #prefix) == prefix then return true end
  end
  return false
end

local page = {server, string.format('%.0f', last), '0', wait, '0'}
local bytes = 0
local looked = 0
local done = since
while true do
  local changed = redis.call('ZRANGE', KEYS[3], '(' .. string.format('%.0f', since), '+inf', 'BYSCORE', 'LIMIT', looked, 1000, 'WITHSCORES')
  for index = 1, #changed, 2 do
    local name, version = changed[index], tonumber(changed[index + 1])
    -- A commit's changes are not torn apart.
    if version ~= done and (bytes > tonumber(ARGV[3]) or looked >= 10000) then
      page[2] = string.format('%.0f', done)
      page[3] = '1'
      return page
    end
    done = version
    looked = looked + 1
    if wanted(name) then
      local raw = redis.call('HGET', KEYS[1], name)
      page[#page + 1] = name
      page[#page + 1] = string.format('%.0f', version)
      page[#page + 1] = raw
      bytes = bytes + 100 + (raw and #raw or 0)
    end
  end
  if #changed < 2000 then return page end
end
`,
};

export const commit: Script = {
  name: "key-values/commit",
  sha: "7bd572dbe8c68ad11b2b2e005f734fb412cb9f10",
  source: `-- Carries out a commit of key-values: all of its changes, or none.
-- KEYS: as the store lists them below.
-- ARGV[1] the channel that wakes watchers
-- ARGV[2] how many changes follow; each is: type ('p' put, 'd' delete, 'a' add, 'c' check), name,
--         condition ('' none, 'a' absent, or the version in digits), and then
--         for a put: value, time to live in ms ('' none); for an add: by, min, max, time to live ('' where there is none)
-- Answers {'ok', version, the new value of each add …}, {'condition' or 'bound', index from 0, the entry met or nil},
--         or {'counter' or 'range', index from 0}: an add met no counter, or would leave the safe integers.
${storePart}local safe = 9007199254740991
local count = tonumber(ARGV[2])
local effects = {}
local counters = {}
local at = 3

local function counter_of(value)
  if not string.find(value, '^%-?%d+$') or #value > 17 then return nil end
  local number = tonumber(value)
  if number < -safe or number > safe then return nil end
  return number
end

local function expiry(ttl)
  return ttl == '' and math.huge or now + tonumber(ttl)
end

for index = 0, count - 1 do
  local type, name, condition = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local raw = redis.call('HGET', KEYS[1], name)
  local version, expires, start
  local stored_expires = math.huge
  if raw then
    version, expires, start = struct.unpack('<dd', raw)
    stored_expires = expires
    if expires <= now then raw = false end
  end
  if condition ~= '' then
    local holds
    if condition == 'a' then holds = not raw else holds = raw and version == tonumber(condition) end
    if not holds then return {'condition', index, raw} end
  end
  if type == 'p' then
    effects[#effects + 1] = {name, ARGV[at], expiry(ARGV[at + 1]), stored_expires}
    at = at + 2
  elseif type == 'd' then
    if raw then effects[#effects + 1] = {name} end
  elseif type == 'a' then
    local sum = raw and counter_of(string.sub(raw, start)) or (not raw and 0)
    if not sum then return {'counter', index} end
    sum = sum + tonumber(ARGV[at])
    if sum < -safe or sum > safe then return {'range', index} end
    local min, max = ARGV[at + 1], ARGV[at + 2]
    if (min ~= '' and sum < tonumber(min)) or (max ~= '' and sum > tonumber(max)) then return {'bound', index, raw} end
    local digits = string.format('%.0f', sum)
    counters[#counters + 1] = digits
    effects[#effects + 1] = {name, digits, raw and expires or expiry(ARGV[at + 3]), stored_expires}
    at = at + 4
  end
end

if #effects > 0 then
  -- At least as many as this commit may add, so that they do not pile up.
  sweep(20 + 2 * count)
  local version = next_version()
  local deletes = 0
  for _, effect in ipairs(effects) do
    if effect[2] then
      put(effect[1], version, effect[3], effect[2], effect[4])
    else
      delete(effect[1], version)
      deletes = deletes + 1
    end
  end
  if deletes > 0 then forget(20 + 2 * deletes) end
  redis.call('PUBLISH', ARGV[1], '')
end
return {'ok', string.format('%.0f', last), unpack(counters)}
`,
};

export const get: Script = {
  name: "key-values/get",
  sha: "a89536ecdd0116344817ab37c08fe8fe0c836bc2",
  source: `-- Reads entries, all as of one instant.
-- KEYS[1] entries   hash: name -> version (f64) .. expires at in ms (f64, inf: never) .. value
-- ARGV    the names
-- Answers the entries in the order of the names; nil for one that is not there or has expired.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local found = {}
for index = 1, #ARGV do
  local raw = redis.call('HGET', KEYS[1], ARGV[index])
  if raw and select(2, struct.unpack('<dd', raw)) <= now then raw = false end
  found[index] = raw
end
return found
`,
};

export const scan: Script = {
  name: "key-values/scan",
  sha: "683ea7b26b6ae9de549f8a4ed9b2e6a79d19b5e5",
  source: `-- Reads a page of entries in the order of their names.
-- KEYS[1] entries   hash: name -> version (f64) .. expires at in ms (f64, inf: never) .. value
-- KEYS[2] names     sorted set, all scores 0: the names in their order
-- KEYS[3] meta      hash: version (the last one given)
-- ARGV[1], ARGV[2]  from and to, as ZRANGE BYLEX takes them
-- ARGV[3]           how many names to look at
-- ARGV[4]           after so many bytes of values the page ends
-- Answers {the last version, the name that was looked at last or nil when there are no more, name, entry, name, entry …}.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local limit = tonumber(ARGV[3])
local names = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, limit)
local page = {redis.call('HGET', KEYS[3], 'version') or '0', #names == limit and names[limit] or false}
local bytes = 0
for index, name in ipairs(names) do
  local raw = redis.call('HGET', KEYS[1], name)
  if raw and select(2, struct.unpack('<dd', raw)) > now then
    page[#page + 1] = name
    page[#page + 1] = raw
    bytes = bytes + #raw
    if bytes > tonumber(ARGV[4]) and index < #names then
      page[2] = name
      break
    end
  end
end
return page
`,
};
