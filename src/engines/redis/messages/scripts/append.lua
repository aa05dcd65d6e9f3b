-- Appends batches, each as a whole or not at all, in the order given.
-- KEYS: the topics' settings (T); everything else is derived under their hash tag, see the parts.
-- ARGV: how many batches, then the batches as append.part.lua says.
-- Answers one item per batch, as append.part.lua says.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua
-- include: append.part.lua

local now = clock()
removeEndedBeforeAppending(KEYS, now)
local answers = {}
local at = 2
for i = 1, tonumber(ARGV[1]) do
  local batch
  batch, at = readBatch(at)
  local planned = {}
  local refusal = checkBatch(batch, planned, now)
  if refusal then
    answers[i] = refusal
  else
    makeRoom(planned, now)
    answers[i] = writeBatch(batch, now)
  end
end
return answers
