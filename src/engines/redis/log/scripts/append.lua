-- Appends a batch, as a whole or not at all.
-- ARGV: partition · count · producer id, or '' · epoch · sequence · chunks, then chunks × (count, packed records).
-- Answers {first position}, or a word that says why not: 'gone' · 'partition', how many · 'fenced', epoch · 'gap', expected · 'repeated'.

-- include: log.part.lua

local producerMs = 604800000
local batchesRemembered = 5

local log = openLog()
if not log then
  return { 'gone' }
end
local number, count, producer = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not hasPartition(log, number) then
  return { 'partition', log.partitions }
end
local now = clock()
local key = log.key .. ':q' .. producer
local epoch, sequence = tonumber(ARGV[4]), tonumber(ARGV[5])
local fields = producer ~= '' and call('HMGET', key, 'e', 'x', number) or {}
local stored = tonumber(fields[1])
local remembered = ''
if producer ~= '' then
  if stored and epoch < stored then
    return { 'fenced', text(stored) }
  end
  local expected = 0
  if epoch == stored and fields[3] then
    remembered = fields[3]
    expected = struct.unpack('<d', remembered)
    for at = 9, #remembered, 24 do
      local known, size, first = struct.unpack('<ddd', remembered, at)
      if known == sequence and size == count then
        return { text(first) }
      end
    end
    if sequence < expected then
      return { 'repeated' }
    end
  end
  if stored and sequence ~= expected then
    return { 'gap', text(expected) }
  end
end
local partition = partitionOf(log, number)
trim(partition, now)
local first = partition.next
addRuns(partition, tonumber(ARGV[6]), 7, now)
if producer ~= '' then
  if stored ~= epoch then
    call('DEL', key)
  end
  if #remembered >= 8 + 24 * batchesRemembered then
    remembered = string.sub(remembered, 1, -25)
  end
  local value = struct.pack('<dddd', sequence + count, sequence, count, first) .. string.sub(remembered, 9)
  local prolonged = stored == epoch and tonumber(fields[2])
  if prolonged and now - prolonged < producerMs / 7 then
    call('HSET', key, number, value)
  else
    call('HSET', key, 'e', text(epoch), 'x', text(now), number, value)
    call('PEXPIRE', key, producerMs)
  end
end
return { text(first) }
