//! The three scripts. A key's hash has the fields `state` (`claimed`, `released`, `done`), `owner`,
//! `fence`, `fingerprint` and `until` (end of the lease, milliseconds, Redis's clock).
//!
//! Every reply is `{verdict, number}`.

use std::sync::LazyLock;

use redis::Script;

static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local owner, fingerprint = ARGV[1], ARGV[2]
local lease, remember = tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local was = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'fingerprint', 'until')
local state, own, same = was[1], was[2] == owner, was[4] == fingerprint
local rest = tonumber(was[5] or 0) - now
if state == 'done' then
    return {same and 'done' or 'conflict', 0}
end
if state == 'claimed' and rest > 0 then
    if not same then
        return {'conflict', 0}
    end
    if not own then
        return {'busy', rest}
    end
end
local fence = tonumber(was[3] or 0)
if not (state == 'claimed' and own and same) then
    fence = fence + 1
end
redis.call('HSET', KEYS[1], 'state', 'claimed', 'owner', owner, 'fence', fence,
    'fingerprint', fingerprint, 'until', string.format('%.0f', now + lease))
redis.call('PEXPIRE', KEYS[1], remember)
return {(state == 'claimed' and not own) and 'takeover' or 'mine', fence}
",
    )
});

static DONE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local was = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence')
local held = was[1] == 'claimed' or was[1] == 'done'
if not (held and was[2] == ARGV[1] and was[3] == ARGV[2]) then
    return {'stale', 0}
end
redis.call('HSET', KEYS[1], 'state', 'done')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'recorded', 0}
",
    )
});

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local was = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence')
if was[1] == 'claimed' and was[2] == ARGV[1] and was[3] == ARGV[2] then
    redis.call('HSET', KEYS[1], 'state', 'released', 'until', '0')
end
return {'released', 0}
",
    )
});

/// Arguments: owner, fingerprint, lease, how long to remember (milliseconds). Verdicts: `mine` and
/// `takeover` with the fence, `busy` with the rest of the lease, `done`, `conflict`.
pub(super) fn claim() -> &'static Script {
    &CLAIM
}

/// Arguments: owner, fence, how long to remember. Verdicts: `recorded`, `stale`.
pub(super) fn done() -> &'static Script {
    &DONE
}

/// Arguments: owner, fence. Verdict: `released`, also when there was nothing of ours.
pub(super) fn release() -> &'static Script {
    &RELEASE
}
