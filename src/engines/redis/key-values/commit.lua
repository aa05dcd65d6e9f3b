-- Carries out a commit of key-values: all of its changes, or none.
-- KEYS: as the store lists them below.
-- ARGV[1] the channel that wakes watchers
-- ARGV[2] how many changes follow; each is: type ('p' put, 'd' delete, 'a' add, 'c' check), name,
--         condition ('' none, 'a' absent, or the version in digits), and then
--         for a put: value, time to live in ms ('' none); for an add: by, min, max, time to live ('' where there is none)
-- Answers {'ok', version, the new value of each add …}, {'condition' or 'bound', index from 0, the entry met or nil},
--         or {'counter' or 'range', index from 0}: an add met no counter, or would leave the safe integers.
-- include: store.part.lua
local safe = 9007199254740991
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
