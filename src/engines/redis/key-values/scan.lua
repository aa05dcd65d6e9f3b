-- Reads a page of entries in the order of their names.
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
