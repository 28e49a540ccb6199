using System.ClientModel;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Embeddings;

namespace LongCtx.Api.Tests;

/// <summary>What the API does whatever host is behind it, asked by OpenAI's own client.</summary>
public abstract partial class ApiConformance : IAsyncLifetime
{
    OpenAIClient client = null!;

    private protected abstract string ChatModel { get; }

    private protected abstract string EmbeddingModel { get; }

    private protected abstract ValueTask<ICompletionHost> OpenHostAsync();

    private protected ICompletionHost Host { get; private set; } = null!;

    private protected ApiServer Server { get; private set; } = null!;

    ChatClient Chat => client.GetChatClient(ChatModel);

    EmbeddingClient Embeddings => client.GetEmbeddingClient(EmbeddingModel);

    private protected static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Host = await OpenHostAsync();
        Server = await ApiServer.StartAsync(Host);
        client = new OpenAIClient(new ApiKeyCredential("unused"), new OpenAIClientOptions { Endpoint = new Uri(Server.Address, "/v1") });
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        if (Host is IAsyncDisposable owned) await owned.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Waits until the host says so; there is no event for it on this side of the API.</summary>
    private protected async Task WaitForAsync(Func<HostStatus, bool> condition)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while (!condition(await Host.GetStatusAsync(limit.Token))) await Task.Delay(5, limit.Token);
    }
}
