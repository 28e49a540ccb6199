using System.Text.RegularExpressions;
using LongCtx.Conversations.Storage;
using Polly;

namespace LongCtx.Storage.Redis;

/// <summary>Which Redis a <see cref="RedisConversationStore"/> uses, and how.</summary>
public sealed partial record RedisStoreOptions
{
    /// <summary>As StackExchange.Redis reads it: host:port,host:port,password=...,ssl=true,defaultDatabase=1. Servers first, then options.</summary>
    public required string Configuration { get; init; }

    /// <summary>What the server's settings are compared with at start. Under <see cref="Durability.Strict"/> weaker ones are refused.</summary>
    public Durability Durability { get; init; } = Durability.Standard;

    /// <summary>Begins all keys: letters, digits, '_', '-', '.' and ':'. Stores with different prefixes do not see each other.</summary>
    public string Prefix { get; init; } = "lc";

    /// <summary>One command, once sent. 1 ms to 1 day.</summary>
    public TimeSpan AttemptTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A command with all its repetitions. At least <see cref="AttemptTimeout"/>.</summary>
    public TimeSpan TotalTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>
    /// Replaces the pipeline of total time-out, repetitions, circuit breaker and attempt time-out; the two time-outs above are ignored then.
    /// Every command may be repeated after any failure.
    /// </summary>
    public ResiliencePipeline? Pipeline { get; init; }

    /// <summary>How long a deleted conversation is known as such; its id is free again afterwards. At least 1 s.</summary>
    public TimeSpan TombstoneLife { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Between two repairs of the listings; the first is at start. At least 1 s.</summary>
    public TimeSpan RepairInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Hears why a repair in the background failed; it is tried again after <see cref="RepairInterval"/>.</summary>
    public Action<StoreException>? OnRepairFailed { get; init; }

    /// <summary>Times repairs, repetitions and time-outs. Dates in the journal are Redis' own.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <exception cref="StoreException">An option is out of its range.</exception>
    internal void Validate()
    {
        if (!PrefixPattern().IsMatch(Prefix)) throw Refusal($"{nameof(Prefix)} '{Prefix}' must be 1 to 64 letters, digits, '_', '-', '.' or ':'.");
        RequireAtLeast(AttemptTimeout, TimeSpan.FromMilliseconds(1), nameof(AttemptTimeout));
        if (AttemptTimeout > TimeSpan.FromDays(1)) throw Refusal($"{nameof(AttemptTimeout)} {AttemptTimeout} must be at most 1 day.");
        RequireAtLeast(TotalTimeout, AttemptTimeout, nameof(TotalTimeout));
        RequireAtLeast(TombstoneLife, TimeSpan.FromSeconds(1), nameof(TombstoneLife));
        RequireAtLeast(RepairInterval, TimeSpan.FromSeconds(1), nameof(RepairInterval));
    }

    static void RequireAtLeast(TimeSpan value, TimeSpan least, string name)
    {
        if (value < least) throw Refusal($"{name} {value} must be at least {least}.");
    }

    static StoreException Refusal(string message) => new(message, isTransient: false);

    [GeneratedRegex(@"\A[A-Za-z0-9_.:-]{1,64}\z", RegexOptions.CultureInvariant)]
    private static partial Regex PrefixPattern();
}
