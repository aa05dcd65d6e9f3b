-- Answers records from a position on.
-- ARGV: incarnation, or '' for any · partition · position · how many records · after how many bytes to end.
-- Answers {incarnation, first position, end, end, count, instant, packed, end, count, …}, or {'gone'}, or {'partition', how many}.

-- include: log.part.lua

local log = openLog()
if not log or (ARGV[1] ~= '' and ARGV[1] ~= log.incarnation) then
  return { 'gone' }
end
if not hasPartition(log, ARGV[2]) then
  return { 'partition', log.partitions }
end
local partition = partitionOf(log, ARGV[2])
trim(partition, clock())
local answer = { tonumber(log.incarnation), text(partition.first), text(partition.next) }
local position, wanted, bytesMax = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if position < partition.first then
  return answer
end
local bytes = 0
while wanted > 0 and bytes < bytesMax and position < partition.next do
  local run = runAt(partition, position)
  if not run then
    break
  end
  answer[#answer + 1] = text(run.stop)
  answer[#answer + 1] = run.count
  answer[#answer + 1] = text(run.at)
  answer[#answer + 1] = run.packed
  wanted = wanted - (run.stop - math.max(position, run.first))
  bytes = bytes + #run.packed
  position = run.stop
end
return answer
