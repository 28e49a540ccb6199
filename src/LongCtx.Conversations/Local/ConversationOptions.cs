using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Local;

/// <summary>How a host keeps conversations; validated when it starts.</summary>
public sealed record ConversationOptions
{
    /// <summary>The journal. It belongs to the host and ends with it.</summary>
    public required IConversationStore Store { get; init; }

    /// <summary>Where KV states are saved, so that a cold conversation starts quickly; null saves none.</summary>
    public string? KvDirectory { get; init; }

    /// <summary>Most bytes of saved KV states; those used least recently go.</summary>
    public long KvDirectoryBytesMax { get; init; } = 8L << 30;

    /// <summary>Between two saved states of one conversation, while it is in use.</summary>
    public TimeSpan SaveInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>After so long without a request, a conversation's owner saves and ends.</summary>
    public TimeSpan IdleTime { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>
    /// A conversation of which no saved state is left is computed again from its beginning up to this length: exact, at prefill speed. A longer one
    /// begins with sinks and window alone.
    /// </summary>
    public long ReplayTokensMax { get; init; } = 65_536;

    /// <summary>
    /// Events of a conversation that are kept at least; 0 keeps all of them. Older ones are forgotten at turn ends, apart from those that the
    /// window still shows; readers of them get a gap, and a conversation without its beginning can be neither forked nor exported.
    /// </summary>
    public long RetainEvents { get; init; }

    /// <summary>At the end, live turns have this long to stop at a stored token and be saved.</summary>
    public TimeSpan ParkTime { get; init; } = TimeSpan.FromSeconds(8);

    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Told, one sentence at a time, what an operator should know.</summary>
    public Action<string> Warn { get; init; } = _ => { };

    internal void Validate()
    {
        Require(KvDirectoryBytesMax >= 0, "kv-disk", "it must not be negative");
        Require(SaveInterval >= TimeSpan.Zero, "save-interval", "it must not be negative");
        Require(IdleTime > TimeSpan.Zero, "idle", "it must be longer than 0");
        Require(ReplayTokensMax >= 0, "replay", "it must not be negative");
        Require(RetainEvents >= 0, "retain-events", "it must not be negative");
        Require(ParkTime > TimeSpan.Zero, "park", "it must be longer than 0");
    }

    static void Require(bool valid, string name, string reason)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, $"{name}: {reason}", name);
    }
}
