-- Declares a log, or changes its retention.
-- ARGV: partitions · retention in ms, 'inf', or '' to leave it · retention in bytes, likewise.
-- Answers its incarnation, or {'partitions', how many}.

-- include: log.part.lua

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
