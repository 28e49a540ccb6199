using System.Runtime.CompilerServices;
using LongCtx.Client;

namespace LongCtx.Cli.Chat;

/// <summary>A conversation that a server keeps. What was said before this process, and what is said after it, belongs to it too.</summary>
internal sealed class StoredChat(LongCtxClient client, string conversation, SamplingOptions sampling, int? maxTokens, Action<string> warn) : IChatSession
{
    /// <summary>As many as remind of what it was about.</summary>
    const int TurnsShown = 2;

    static readonly TimeSpan CancelTime = TimeSpan.FromSeconds(5);

    public int? MaxTokens => maxTokens;

    /// <summary>The newest turns; one that is still being answered, because a server was started again or somebody else asked, ends first.</summary>
    public async Task<ChatBeginning> BeginAsync(CancellationToken cancellation)
    {
        long head = (await client.GetConversationAsync(conversation, cancellation)).Seq;
        (IReadOnlyList<SaidMessage> said, AcceptedTurn? live) = await SaidMessages.ReadAsync(client.SubscribeToNewestAsync(conversation, TurnsShown, cancellation), head, warn);
        IEnumerable<SaidMessage> before = live is null ? said : said.SkipLast(1); // its reply comes from its beginning
        return new([.. before.Select(m => new ChatMessage(m.Role, m.Content))], live is null ? null : stop => ReplyAsync(live, stop));
    }

    public async Task<AdapterInfo?> FindAdapterAsync(CancellationToken cancellation) => await client.GetAdapterAsync(conversation, cancellation);

    /// <summary>Each message is a turn of its own id: a server that restarts in between answers it once.</summary>
    public async IAsyncEnumerable<CompletionEvent> SendAsync(string text, [EnumeratorCancellation] CancellationToken cancellation)
    {
        SubmitTurn turn = LongCtxClient.NewTurn(text);
        AcceptedTurn accepted = await client.SubmitTurnAsync(conversation, turn with { Options = new() { MaxTokens = maxTokens, Sampling = sampling } }, cancellation);
        await foreach (CompletionEvent e in ReplyAsync(accepted, cancellation)) yield return e;
    }

    /// <summary>A turn's reply from its beginning. Leaving before its end stops it.</summary>
    async IAsyncEnumerable<CompletionEvent> ReplyAsync(AcceptedTurn turn, [EnumeratorCancellation] CancellationToken cancellation)
    {
        bool hasEnded = false;
        try
        {
            await foreach (ConversationEvent e in client.ReadTurnAsync(turn, turn.Seq - 1, cancellation))
            {
                hasEnded = e is Completed or Cancelled or Failed;
                foreach (CompletionEvent told in Told(e)) yield return told;
            }
        }
        finally
        {
            if (!hasEnded) await StopAsync(turn.Turn);
        }
    }

    static IEnumerable<CompletionEvent> Told(ConversationEvent e) => e switch
    {
        Delta delta => Text(delta.Text, default),
        Completed completed => End(completed.Text, completed.Reason, completed.Usage),
        Cancelled cancelled => End(cancelled.Text, FinishReason.Cancelled, cancelled.Usage),
        Failed failed => throw new LongCtxException(ErrorCode.EngineFailure, failed.Message),
        _ => [],
    };

    static IEnumerable<CompletionEvent> End(string text, FinishReason reason, TurnUsage usage) =>
    [
        .. Text(text, usage.Window),
        new CompletionFinished(reason, new(
            (int)usage.InputTokens, (int)usage.CachedTokens, (int)usage.OutputTokens, (int)usage.EvictedTokens, usage.Window, usage.PrefillSeconds, usage.DecodeSeconds)),
    ];

    static IEnumerable<CompletionEvent> Text(string text, WindowState window) => text.Length == 0 ? [] : [new CompletionDelta(text, [], window)];

    /// <summary>The user did not want the rest. A server that does not hear it goes on to the end.</summary>
    async ValueTask StopAsync(int turn)
    {
        using CancellationTokenSource limit = new(CancelTime);
        try
        {
            await client.CancelTurnAsync(conversation, turn, limit.Token);
        }
        catch (Exception e) when (e is LongCtxException or OperationCanceledException)
        {
            // Nothing that the user could do.
        }
    }
}
