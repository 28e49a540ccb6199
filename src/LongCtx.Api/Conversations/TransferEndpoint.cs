using System.Text;
using LongCtx.Api.Json;

namespace LongCtx.Api.Conversations;

/// <summary>GET /v1/conversations/{id}/export and POST /v1/conversations/import: JSON Lines</summary>
internal sealed class TransferEndpoint(IConversationHost host, RequestBody body, Quotas quotas)
{
    public const string JsonLines = "application/jsonl";

    /// <summary>A failure in the middle breaks the connection off: half an export must not look whole.</summary>
    public async Task ExportAsync(HttpContext http)
    {
        await using IAsyncEnumerator<string> lines = host.ExportAsync(Tenants.Of(http), ConversationId.Of(http), http.RequestAborted).GetAsyncEnumerator(http.RequestAborted);
        bool isMore = await lines.MoveNextAsync(); // what is refused is refused here
        http.Response.ContentType = JsonLines;
        for (; isMore; isMore = await lines.MoveNextAsync())
        {
            Encoding.UTF8.GetBytes(lines.Current, http.Response.BodyWriter);
            Encoding.UTF8.GetBytes("\n", http.Response.BodyWriter);
            await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
        }
    }

    public async Task ImportAsync(HttpContext http)
    {
        string tenant = Tenants.Of(http);
        using (await quotas.ConversationAsync(tenant, http.RequestAborted))
        {
            IAsyncEnumerable<string> lines = body.ReadLinesAsync(http, http.RequestAborted).Select(line => line.Text);
            await ConversationEndpoint.AnswerAsync(http, await host.ImportAsync(tenant, lines, http.RequestAborted));
        }
    }
}
