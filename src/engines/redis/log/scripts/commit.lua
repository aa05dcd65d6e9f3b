-- A writer's commit to one place: an output, a reader's position, or nothing, to find out whether it is fenced.
-- ARGV: writer · epoch, then
--   partition · how many · 'o' · first sequence, or '' · last sequence · chunks, then chunks × (count, packed records)
--   partition · position · 'p' · reader
--   '' · '' · ''
-- Answers {first position} of an output, else {}; or a word that says why not: 'gone' · 'partition', how many · 'fenced' · 'beyond', end ·
-- 'known', the last sequence stored: nothing was stored, for some of the records are known.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
local writer, number, kind = ARGV[1], ARGV[3], ARGV[5]
if number ~= '' and not hasPartition(log, number) then
  return { 'partition', log.partitions }
end
if isFenced(log, writer, ARGV[2]) then
  return { 'fenced' }
end
if kind == '' then
  return {}
end
local partition = partitionOf(log, number)
if kind == 'p' then
  if tonumber(ARGV[4]) > partition.next then
    return { 'beyond', text(partition.next) }
  end
  call('HSET', log.key .. ':r', number .. ':' .. ARGV[6], ARGV[4])
  return {}
end
local now = clock()
if ARGV[6] ~= '' then
  local field = number .. ':' .. writer
  local last = tonumber(call('HGET', log.key .. ':w', field)) or -1
  if tonumber(ARGV[6]) <= last then
    return { 'known', text(last) }
  end
  call('HSET', log.key .. ':w', field, ARGV[7])
end
trim(partition, now)
local first = partition.next
addRuns(partition, tonumber(ARGV[8]), 9, now)
return { text(first) }
