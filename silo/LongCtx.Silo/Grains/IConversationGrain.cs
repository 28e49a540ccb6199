
namespace LongCtx.Silo.Grains;

/// <summary>
/// One conversation, owned by the silo on which it is active. Key: <see cref="GrainKeys"/>. Everything interleaves: the conversation's owner takes requests one
/// at a time itself, and no call lasts longer than <see cref="WaitMax"/>.
/// </summary>
[Alias("longctx.conversation.v1")]
internal interface IConversationGrain : IGrainWithStringKey
{
    /// <summary>A waiting call delays every migration and shutdown, so it is short and repeated.</summary>
    static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(5);

    /// <summary>A value of null: the turn still waits for the live one to end; send the same turn again.</summary>
    [AlwaysInterleave, Alias("submit")]
    ValueTask<Wire> SubmitTurnAsync(Wire command);

    /// <summary>As <see cref="SubmitTurnAsync"/>.</summary>
    [AlwaysInterleave, Alias("append")]
    ValueTask<Wire> AppendInputAsync(Wire command, string requestId);

    /// <summary>Events behind <paramref name="after"/>; waits for one up to <paramref name="wait"/>, at most <see cref="WaitMax"/>.</summary>
    [AlwaysInterleave, Alias("read")]
    ValueTask<Wire> ReadEventsAsync(long after, int max, TimeSpan wait, CancellationToken cancellation = default);

    [AlwaysInterleave, Alias("cancel")]
    ValueTask<Wire> CancelTurnAsync(int turn);

    /// <summary>A value of null: it still waits for the live turn to end; ask again.</summary>
    [AlwaysInterleave, Alias("configure-adapter")]
    ValueTask<Wire> ConfigureAdapterAsync(Wire settings, string requestId);

    /// <summary>As <see cref="ConfigureAdapterAsync"/>.</summary>
    [AlwaysInterleave, Alias("reset-adapter")]
    ValueTask<Wire> ResetAdapterAsync(bool disable, string requestId);

    /// <summary>Does nothing but activate, which goes on with a turn that was live.</summary>
    [AlwaysInterleave, Alias("wake")]
    ValueTask WakeAsync();

    /// <summary>It was deleted in the store: stops what is under way.</summary>
    [AlwaysInterleave, Alias("abandon")]
    ValueTask AbandonAsync();

    /// <summary>Stops at a stored token and leaves this silo.</summary>
    [AlwaysInterleave, Alias("drain")]
    ValueTask DrainAsync();
}
