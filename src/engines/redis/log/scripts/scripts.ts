// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../../script.ts";

const logPart = `-- Logs: their partitions, and what is kept of producers, writers and readers. A part that other scripts begin with.
--
-- Records stand in *runs*, one stream entry each: id \`<position behind its last record>-<how many>\`, one field whose name is the
-- instant of appending and whose value is the packed records. Positions are dense, so that the run that holds a position is the first whose id
-- is greater.
--
-- KEYS[1] (B) names the log; the other keys are derived from it, and so in its slot:
--   B             hash    i incarnation · n partitions · m retention in ms, or '' · b retention in bytes, or ''
--   B:i           string  the last incarnation; stays when the log is removed, so that its successor has another one
--   B:<i>:p       hash    n<p> next position · f<p> first kept position · a<p> last instant · s<p> bytes kept
--   B:<i>:s<p>    stream  the runs
--   B:<i>:r       hash    \`<p>:<reader>\` where it stands
--   B:<i>:w       hash    \`e:<writer>\` its epoch · \`<p>:<writer>\` the last sequence stored
--   B:<i>:q<id>   hash    a producer: e epoch · x when its life was prolonged · <p> the next sequence and its last five batches, newest first,
--                         as doubles (sequence, count, first position)
--   B:w           channel the number of a partition that has grown, or \`-\` when the log was removed
local call = redis.call
local base = KEYS[1]

local function text(number)
  return string.format('%.17g', number)
end

-- The server's clock in whole milliseconds; the same all through one script.
local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- \`nil\` when there is none.
local function openLog()
  local fields = call('HMGET', base, 'i', 'n', 'm', 'b')
  if not fields[1] then
    return nil
  end
  return {
    incarnation = fields[1],
    key = base .. ':' .. fields[1],
    partitions = tonumber(fields[2]),
    retentionMs = tonumber(fields[3]),
    retentionBytes = tonumber(fields[4]),
  }
end

local function partitionOf(log, number)
  local fields = call('HMGET', log.key .. ':p', 'n' .. number, 'f' .. number, 'a' .. number, 's' .. number)
  return {
    log = log,
    number = number,
    stream = log.key .. ':s' .. number,
    next = tonumber(fields[1]) or 0,
    first = tonumber(fields[2]) or 0,
    at = tonumber(fields[3]) or 0,
    bytes = tonumber(fields[4]) or 0,
  }
end

local function save(partition)
  local number = partition.number
  call(
    'HSET', partition.log.key .. ':p',
    'n' .. number, text(partition.next), 'f' .. number, text(partition.first),
    'a' .. number, text(partition.at), 's' .. number, text(partition.bytes)
  )
end

-- A run as a stream gives it.
local function runOf(entry)
  local stop, count = string.match(entry[1], '^(%d+)-(%d+)$')
  stop, count = tonumber(stop), tonumber(count)
  return { id = entry[1], first = stop - count, stop = stop, count = count, at = tonumber(entry[2][1]), packed = entry[2][2] }
end

-- The run that holds the position, or the next one.
local function runAt(partition, position)
  local found = call('XRANGE', partition.stream, text(position + 1), '+', 'COUNT', 1)
  if #found == 0 then
    return nil
  end
  return runOf(found[1])
end

-- Lets the oldest runs go that the retention does not keep: whoever comes along works it off, some at a time.
local function trim(partition, now)
  local log = partition.log
  if not log.retentionMs and not log.retentionBytes then
    return
  end
  local changed = false
  for _ = 1, 256 do
    local run = runAt(partition, partition.first)
    if not run then
      break
    end
    local isOld = log.retentionMs and run.at < now - log.retentionMs
    local isMuch = log.retentionBytes and partition.bytes - #run.packed >= log.retentionBytes
    if not isOld and not isMuch then
      break
    end
    call('XDEL', partition.stream, run.id)
    partition.first = run.stop
    partition.bytes = partition.bytes - #run.packed
    changed = true
  end
  if changed then
    save(partition)
  end
end

-- Adds chunks × (count, packed records) from ARGV[at] on. Instants never go back, whatever the clock does.
local function addRuns(partition, chunks, at, now)
  if now > partition.at then
    partition.at = now
  end
  for i = 1, chunks do
    local count, packed = tonumber(ARGV[at + 2 * i - 2]), ARGV[at + 2 * i - 1]
    partition.next = partition.next + count
    partition.bytes = partition.bytes + #packed
    call('XADD', partition.stream, text(partition.next) .. '-' .. count, text(partition.at), packed)
  end
  save(partition)
  call('PUBLISH', base .. ':w', partition.number)
end

-- Whether the writer with this epoch has been succeeded, or was never opened for this log.
local function isFenced(log, writer, epoch)
  return call('HGET', log.key .. ':w', 'e:' .. writer) ~= epoch
end

local function hasPartition(log, number)
  return tonumber(number) < log.partitions
end
`;

export const append: Script = {
  name: "log/scripts/append",
  sha: "004eb4a0339a3dff3a9a0f7896e87cf12d29f815",
  source: `-- Appends a batch, as a whole or not at all.
-- ARGV: partition · count · producer id, or '' · epoch · sequence · chunks, then chunks × (count, packed records).
-- Answers {first position}, or a word that says why not: 'gone' · 'partition', how many · 'fenced', epoch · 'gap', expected · 'repeated'.

${logPart}
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
`,
};

export const commit: Script = {
  name: "log/scripts/commit",
  sha: "7a79480cb41cd71d4fdabf7949abd4e7949cf46a",
  source: `-- A writer's commit to one place: an output, a reader's position, or nothing, to find out whether it is fenced.
-- ARGV: writer · epoch, then
--   partition · how many · 'o' · first sequence, or '' · last sequence · chunks, then chunks × (count, packed records)
--   partition · position · 'p' · reader
--   '' · '' · ''
-- Answers {first position} of an output, else {}; or a word that says why not: 'gone' · 'partition', how many · 'fenced' · 'beyond', end ·
-- 'known', the last sequence stored: nothing was stored, for some of the records are known.

${logPart}
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
`,
};

export const declare: Script = {
  name: "log/scripts/declare",
  sha: "a4a47a28977cfe592e0d6884243361d7348ff4cb",
  source: `-- Declares a log, or changes its retention.
-- ARGV: partitions · retention in ms, 'inf', or '' to leave it · retention in bytes, likewise.
-- Answers its incarnation, or {'partitions', how many}.

${logPart}
local log = openLog()
if log then
  if log.partitions ~= tonumber(ARGV[1]) then
    return { 'partitions', log.partitions }
  end
else
  call('HSET', base, 'i', call('INCR', base .. ':i'), 'n', ARGV[1], 'm', '', 'b', '')
end
for i, field in ipairs({ 'm', 'b' }) do
  local given = ARGV[i + 1]
  if given == 'inf' then
    call('HSET', base, field, '')
  elseif given ~= '' then
    call('HSET', base, field, given)
  end
end
return { tonumber(call('HGET', base, 'i')) }
`,
};

export const describe: Script = {
  name: "log/scripts/describe",
  sha: "5adcc7ede287471300bd3c4d9eee09165ac9fa8e",
  source: `-- Answers retention in ms, in bytes, then for each partition: first position · end · instant of the last record, or ''; or {'gone'}.

${logPart}
local log = openLog()
if not log then
  return { 'gone' }
end
local now = clock()
local answer = { { log.retentionMs and text(log.retentionMs) or '', log.retentionBytes and text(log.retentionBytes) or '' } }
for number = 0, log.partitions - 1 do
  local partition = partitionOf(log, tostring(number))
  trim(partition, now)
  local last = partition.first < partition.next and text(partition.at) or ''
  answer[number + 2] = { text(partition.first), text(partition.next), last }
end
return answer
`,
};

export const fence: Script = {
  name: "log/scripts/fence",
  sha: "d7a3148d9b509636b376034ecaa84ced0440f08d",
  source: `-- Fences every earlier epoch of a writer in one log; or only looks whether there is such a log.
-- ARGV: writer · epoch, or '' to look.
-- Answers {}, or {'gone'}.

${logPart}
local log = openLog()
if not log then
  return { 'gone' }
end
local field = 'e:' .. ARGV[1]
local epoch = tonumber(ARGV[2])
if epoch and epoch > (tonumber(call('HGET', log.key .. ':w', field)) or 0) then
  call('HSET', log.key .. ':w', field, ARGV[2])
end
return {}
`,
};

export const locate: Script = {
  name: "log/scripts/locate",
  sha: "b2204d51475c359da52ba0d69739989edb8d9fc3",
  source: `-- Answers {the position of the first record at or after an instant}, or {'gone'}, or {'partition', how many}.
-- ARGV: partition · instant.

${logPart}
local log = openLog()
if not log then
  return { 'gone' }
end
if not hasPartition(log, ARGV[1]) then
  return { 'partition', log.partitions }
end
local partition = partitionOf(log, ARGV[1])
trim(partition, clock())
local at = tonumber(ARGV[2])
local from, to = partition.first, partition.next
while from < to do
  local run = runAt(partition, math.floor((from + to) / 2))
  if not run or run.at >= at then
    to = math.min(run and run.first or to - 1, math.floor((from + to) / 2))
  else
    from = run.stop
  end
end
return { text(math.max(from, partition.first)) }
`,
};

export const nextEpoch: Script = {
  name: "log/scripts/next-epoch",
  sha: "512db5da0785eca822144e5e2188a909be48b53d",
  source: `-- Answers the next epoch of a writer's name. Not below the clock, so that one that a crash has lost is not given again.
-- KEYS[1]: the last one.

local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[1])) or 0
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[1], epoch)
return epoch
`,
};

export const positions: Script = {
  name: "log/scripts/positions",
  sha: "1a22e935c6460f0d0befeac26a58f9050ad89bfd",
  source: `-- Answers where a reader stands, or '', by partition; or {'gone'}.
-- ARGV: reader · '1' to forget it.

${logPart}
local log = openLog()
if not log then
  return { 'gone' }
end
local answer = {}
for number = 0, log.partitions - 1 do
  local field = number .. ':' .. ARGV[1]
  answer[number + 1] = { call('HGET', log.key .. ':r', field) or '' }
  if ARGV[2] == '1' then
    call('HDEL', log.key .. ':r', field)
  end
end
return answer
`,
};

export const read: Script = {
  name: "log/scripts/read",
  sha: "07684a7bcb058755494a248bbf79bee2b93c199e",
  source: `-- Answers records from a position on.
-- ARGV: incarnation, or '' for any · partition · position · how many records · after how many bytes to end.
-- Answers {incarnation, first position, end, end, count, instant, packed, end, count, …}, or {'gone'}, or {'partition', how many}.

${logPart}
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
`,
};

export const remove: Script = {
  name: "log/scripts/remove",
  sha: "e9f130fd2852aa298ee6737b087f41fecb1dafb9",
  source: `-- Removes a log. What is kept of its producers ends by itself.
-- Answers its incarnation, or {'gone'}.

${logPart}
local log = openLog()
if not log then
  return { 'gone' }
end
call('DEL', base)
call('UNLINK', log.key .. ':p', log.key .. ':r', log.key .. ':w')
for number = 0, log.partitions - 1 do
  call('UNLINK', log.key .. ':s' .. number)
end
call('PUBLISH', base .. ':w', '-')
return { tonumber(log.incarnation) }
`,
};
