using System.Runtime.CompilerServices;
using System.Text;
using LongCtx.Conversations;

namespace LongCtx.Cli.Chat;

/// <summary>A chat, wherever it is kept.</summary>
internal interface IChatSession
{
    /// <summary>Most tokens of one reply; null is no limit.</summary>
    int? MaxTokens { get; }

    /// <summary>How the chat stands before the first message is sent.</summary>
    Task<ChatBeginning> BeginAsync(CancellationToken cancellation);

    /// <summary>What the conversation has learned from its own text; null where it is kept by this process alone, and cannot.</summary>
    Task<AdapterInfo?> FindAdapterAsync(CancellationToken cancellation);

    /// <summary>Sends a message and streams the reply; cancelling stops the reply.</summary>
    IAsyncEnumerable<CompletionEvent> SendAsync(string text, CancellationToken cancellation);
}

/// <param name="Said">The end of what was said before.</param>
/// <param name="Reply">Streams the reply that is still being given to it; cancelling stops the reply. Null when none is.</param>
internal sealed record ChatBeginning(IReadOnlyList<ChatMessage> Said, Func<CancellationToken, IAsyncEnumerable<CompletionEvent>>? Reply);

/// <summary>
/// One conversation as the client keeps it: the messages. The host recognises them by their hashes, so a turn costs what is new, not what was.
/// </summary>
internal sealed class ChatSession : IChatSession
{
    readonly ICompletionHost _host;
    readonly SamplingOptions _sampling;
    readonly List<ChatMessage> _messages = [];

    public ChatSession(ICompletionHost host, SamplingOptions sampling, int? maxTokens, string? system)
    {
        _host = host;
        _sampling = sampling;
        MaxTokens = maxTokens;
        if (system is not null) _messages.Add(new("system", system));
    }

    public int? MaxTokens { get; }

    /// <summary>As the host calls it; null is its default.</summary>
    public string? Model { get; init; }

    public IReadOnlyList<ChatMessage> Messages => _messages;

    /// <summary>It begins with this process.</summary>
    public Task<ChatBeginning> BeginAsync(CancellationToken cancellation) => Task.FromResult(new ChatBeginning([], null));

    public Task<AdapterInfo?> FindAdapterAsync(CancellationToken cancellation) => Task.FromResult<AdapterInfo?>(null);

    /// <summary>
    /// Sends a message and streams the reply. What has arrived of a reply becomes part of the conversation even if it is cancelled: both
    /// sides have seen it. A message that was refused is taken back.
    /// </summary>
    public async IAsyncEnumerable<CompletionEvent> SendAsync(string text, [EnumeratorCancellation] CancellationToken cancellation)
    {
        _messages.Add(new("user", text));
        var reply = new StringBuilder();
        bool accepted = false;
        try
        {
            var request = new CompletionRequest { Model = Model, Messages = [.. _messages], MaxTokens = MaxTokens, Sampling = _sampling };
            await foreach (CompletionEvent e in _host.CompleteAsync("local", request, cancellation))
            {
                accepted = true;
                if (e is CompletionDelta delta) reply.Append(delta.Text);
                yield return e;
            }
        }
        finally
        {
            if (accepted) _messages.Add(new("assistant", reply.ToString()));
            else _messages.RemoveAt(_messages.Count - 1);
        }
    }
}
