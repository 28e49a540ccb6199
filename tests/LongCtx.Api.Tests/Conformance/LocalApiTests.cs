using LongCtx.Conversations.Local;
using LongCtx.Server;

namespace LongCtx.Api.Tests;

/// <summary>The same questions to the real engine with pg19-7m.</summary>
public sealed class LocalApiTests : ApiConformance
{
    private protected override string ChatModel => "pg19-7m";

    private protected override string EmbeddingModel => LocalHost.DefaultEncoder;

    private protected override string LongQuestion => "Go on and on.";

    private protected override async ValueTask<ICompletionHost> OpenHostAsync() =>
        new TalkativeHost(await LocalHost.OpenAsync(["pg19-7m"], new(), 2, withEncoder: true), LongQuestion);

    /// <summary>The local host, but its model cannot end the reply to one question: the disconnect tests need one that lasts.</summary>
    sealed class TalkativeHost(LocalConversationHost host, string question) : ICompletionHost, IAsyncDisposable
    {
        static readonly Dictionary<int, float> NeverEnd = new() { [0] = -100, [1] = -100, [2] = -100 }; // <|endoftext|>, <|im_start|>, <|im_end|>

        public IAsyncEnumerable<CompletionEvent> CompleteAsync(string tenant, CompletionRequest request, CancellationToken cancellation = default) =>
            host.CompleteAsync(tenant, request.Messages?[^1].Content == question ? request with { Sampling = request.Sampling with { LogitBias = NeverEnd } } : request, cancellation);

        public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) => host.ListModelsAsync(cancellation);

        public ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default) =>
            host.EmbedAsync(tenant, request, cancellation);

        public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default) => host.GetStatusAsync(cancellation);

        public ValueTask DisposeAsync() => host.DisposeAsync();
    }
}
