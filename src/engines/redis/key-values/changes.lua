-- Answers what has changed since a version, after deleting what has expired.
-- KEYS: as the store lists them below.
-- ARGV[1] the version
-- ARGV[2] '1': say which server this is
-- ARGV[3] after so many bytes of values the answer ends, where a version does
-- ARGV[4] the channel that wakes watchers
-- ARGV[5] and on: prefixes of the names that are asked for
-- Answers {server or nil, the version up to which this is complete, '1' if there is more now,
--          in how many ms the next key expires or -1, '1' if deletes since the version are forgotten or the version was never given,
--          name, version, entry or nil, name, version, entry or nil …} in the order of the versions.
-- include: store.part.lua
local since = tonumber(ARGV[1])
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
