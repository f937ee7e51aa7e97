"""Redis scripts: what has to happen to several keys of the histories at once.

Sent with each call: a thousand bytes are cheaper than to find out whether a server that may have
been restarted still knows them.
"""

# 1 if stored; 0 if the history is another by now, or somebody else has brought one of these events.
STORE = """
local history, keys, idle = KEYS[1], KEYS[2], KEYS[3]
local shopper, before, after, last_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local today, key_days, expiry_s = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
for i = 8, #ARGV do
  local day = redis.call('ZSCORE', keys, ARGV[i])
  if day and tonumber(day) >= today - key_days then return 0 end
end
if after ~= '' then
  local found = redis.call('GET', history)
  if (found and redis.sha1hex(found) or '') ~= before then return 0 end
  redis.call('SET', history, after)
  redis.call('ZADD', idle, last_ms, shopper)
end
redis.call('ZREMRANGEBYSCORE', keys, '-inf', '(' .. (today - key_days))
for i = 8, #ARGV do redis.call('ZADD', keys, today, ARGV[i]) end
redis.call('EXPIRE', keys, expiry_s)
return 1
"""

ADD_IF_NEW = """
if not redis.call('SET', KEYS[1], ARGV[2], 'NX') then return 0 end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1
"""

# Their keys stay: a retry within the week is still known. They expire by themselves.
FORGET_IDLE = """
local surplus = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
if surplus <= 0 then return 0 end
local idle = redis.call('ZRANGE', KEYS[1], 0, math.min(surplus, tonumber(ARGV[2])) - 1)
for _, shopper in ipairs(idle) do
  redis.call('DEL', ARGV[3] .. shopper)
  redis.call('ZREM', KEYS[1], shopper)
end
return #idle
"""
