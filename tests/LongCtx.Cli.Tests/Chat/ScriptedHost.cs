using System.Runtime.CompilerServices;

namespace LongCtx.Cli.Tests.Chat;

/// <summary>Answers with the number of messages and the last one, word by word; refuses "refuse"; "forever" never ends by itself.</summary>
internal sealed class ScriptedHost : ICompletionHost
{
    public List<CompletionRequest> Requests { get; } = [];

    /// <summary>Called after each word of a reply.</summary>
    public Action OnWord { get; set; } = () => { };

    public async IAsyncEnumerable<CompletionEvent> CompleteAsync(
        string tenant, CompletionRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Requests.Add(request);
        string last = request.Messages![^1].Content;
        if (last == "refuse") throw new LongCtxException(ErrorCode.ContextLengthExceeded, "too long");
        await Task.Yield();
        var window = new WindowState(40, 100, 2, 42);
        yield return new CompletionStarted("scripted", 10, 5);
        string[] words = [$"{request.Messages.Count}", $" {last}"];
        for (int i = 0; i < words.Length || last == "forever"; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return new CompletionDelta(words[i % words.Length], [], window);
            OnWord();
        }

        yield return new CompletionFinished(FinishReason.Stop, new Usage(10, 5, 21, 2, window, 0.1, 2));
    }

    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default) => throw new NotSupportedException();

    public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => throw new NotSupportedException();
}
