using System.Runtime.CompilerServices;
using System.Text;
using LongCtx.Client.Wire;

namespace LongCtx.Client;

/// <summary>
/// A LongCtx server's conversations. Safe for many threads. Whatever is sent is tried again while the server cannot be reached, and done once;
/// whatever is read goes on where it was.
/// </summary>
public sealed partial class LongCtxClient
{
    const int PageMax = 100;

    readonly Transport transport;

    /// <summary>Over an HTTP client of its own.</summary>
    /// <exception cref="LongCtxException">An option is out of its range; all members throw it with the server's code when the server refuses.</exception>
    public LongCtxClient(LongCtxClientOptions options) : this(new HttpClient(), options)
    {
    }

    /// <param name="http">Its base address and authorization are set here; it must not be used for anything else.</param>
    /// <param name="options">How the server is reached.</param>
    public LongCtxClient(HttpClient http, LongCtxClientOptions options)
    {
        options.Validate();
        http.BaseAddress = options.Server;
        if (options.ApiKey is { } key) http.DefaultRequestHeaders.Authorization = new("Bearer", key);
        transport = new(http, options);
    }

    /// <summary>Where the server listens.</summary>
    public Uri Server => transport.Options.Server;

    /// <param name="request">Without an idempotency key it gets one for this call, so that a repetition after a lost answer creates nothing twice.</param>
    /// <param name="cancellation">Ends the attempts.</param>
    public async Task<ConversationInfo> CreateConversationAsync(CreateConversation? request = null, CancellationToken cancellation = default)
    {
        request ??= new(null);
        CreateBody body = new(request.Model, request.Metadata, request.Messages.Count > 0 ? Bodies(request.Messages) : null, request.Adapter);
        return (await transport.PostAsync("v1/conversations", body, ClientJson.Default.CreateBody, ClientJson.Default.ConversationAnswer,
            request.IdempotencyKey ?? NewKey(), cancellation).ConfigureAwait(false)).ToInfo();
    }

    public async Task<ConversationInfo> GetConversationAsync(string conversation, CancellationToken cancellation = default) =>
        (await transport.GetAsync(PathOf(conversation), ClientJson.Default.ConversationAnswer, cancellation).ConfigureAwait(false)).ToInfo();

    /// <summary>All conversations of the tenant, newest first unless asked otherwise; they are fetched in pages as they are read.</summary>
    public async IAsyncEnumerable<ConversationInfo> ListConversationsAsync(bool ascending = false, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        string? after = null;
        do
        {
            string path = $"v1/conversations?limit={PageMax}&order={(ascending ? "asc" : "desc")}{(after is null ? "" : $"&after={after}")}";
            ConversationList page = await transport.GetAsync(path, ClientJson.Default.ConversationList, cancellation).ConfigureAwait(false);
            foreach (ConversationAnswer found in page.Data) yield return found.ToInfo();
            after = page.HasMore ? page.LastId : null;
        }
        while (after is not null);
    }

    /// <summary>Replaces the labels.</summary>
    public async Task<ConversationInfo> SetMetadataAsync(string conversation, IReadOnlyDictionary<string, string> metadata, CancellationToken cancellation = default) =>
        (await transport.PostAsync(PathOf(conversation), new(metadata), ClientJson.Default.MetadataBody, ClientJson.Default.ConversationAnswer, null, cancellation)
            .ConfigureAwait(false)).ToInfo();

    /// <summary>Deletes for good.</summary>
    public async Task DeleteConversationAsync(string conversation, CancellationToken cancellation = default) =>
        await transport.DeleteAsync(PathOf(conversation), cancellation).ConfigureAwait(false);

    /// <summary>A new conversation with the events up to <paramref name="at"/> of this one; null: all.</summary>
    /// <param name="key">The same key for the same point gives the same fork; null makes a new one with each call.</param>
    public async Task<ConversationInfo> ForkAsync(string conversation, long? at = null, string? key = null, CancellationToken cancellation = default) =>
        (await transport.PostAsync(PathOf(conversation, "/fork"), new(at), ClientJson.Default.ForkBody, ClientJson.Default.ConversationAnswer, key ?? NewKey(), cancellation)
            .ConfigureAwait(false)).ToInfo();

    /// <summary>The conversation as lines of JSON. One that breaks off throws: what was read by then is not the whole.</summary>
    public async IAsyncEnumerable<string> ExportAsync(string conversation, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using HttpResponseMessage response = await transport.OpenAsync(new(HttpMethod.Get, PathOf(conversation, "/export")), cancellation).ConfigureAwait(false);
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false));
        while (await LineAsync().ConfigureAwait(false) is { } line) yield return line;

        async ValueTask<string?> LineAsync()
        {
            try
            {
                return await reader.ReadLineAsync(cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (Transport.IsLost(e, cancellation))
            {
                throw new LongCtxException(ErrorCode.Unreachable, $"the export of {conversation} broke off: {e.GetBaseException().Message} Export it again.", inner: e);
            }
        }
    }

    /// <summary>A new conversation from an export. It is sent once: after a lost answer, look whether it is there.</summary>
    public async Task<ConversationInfo> ImportAsync(IAsyncEnumerable<string> lines, CancellationToken cancellation = default)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/conversations/import") { Content = new LinesContent(lines, cancellation) };
        using HttpResponseMessage response = await transport.OpenAsync(request, cancellation).ConfigureAwait(false);
        return (await transport.ReadAsync(response, ClientJson.Default.ConversationAnswer, cancellation).ConfigureAwait(false)).ToInfo();
    }

    static MessageBody[] Bodies(IReadOnlyList<ChatMessage> messages) => [.. messages.Select(m => new MessageBody(m.Role, m.Content))];

    static string NewKey() => Guid.CreateVersion7().ToString();

    /// <summary>What cannot be an id must not become another path.</summary>
    static string PathOf(string conversation, string below = "") => $"v1/conversations/{Uri.EscapeDataString(conversation)}{below}";

    /// <summary>A body that is written line by line as the lines come.</summary>
    sealed class LinesContent : HttpContent
    {
        readonly IAsyncEnumerable<string> lines;
        readonly CancellationToken cancellation;

        public LinesContent(IAsyncEnumerable<string> lines, CancellationToken cancellation)
        {
            (this.lines, this.cancellation) = (lines, cancellation);
            Headers.ContentType = new("application/jsonl");
        }

        protected override async Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context)
        {
            await foreach (string line in lines.WithCancellation(cancellation).ConfigureAwait(false))
                await stream.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), cancellation).ConfigureAwait(false);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
