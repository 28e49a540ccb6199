using System.Runtime.CompilerServices;
using System.Text.Json;
using LongCtx.Api.Conversations;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;

namespace LongCtx.Api.Items;

/// <summary>
/// Appends a body of any length while it arrives, piece by piece; lines of the answer say meanwhile how far it is stored. The computing of what
/// is stored goes on beside it. A producer that sends a piece again, by its number, appends it once.
/// </summary>
internal sealed class FeedEndpoint(IConversationHost host, RequestBody body, ErrorBoundary errors, Shutdown shutdown)
{
    /// <summary>Size of the pieces of a plain text: about a thousand tokens.</summary>
    const int PieceBytes = 4096;

    const int ProducerLengthMax = 128;

    /// <summary>Each line is an item.</summary>
    public Task AppendLinesAsync(HttpContext http) => AppendAsync(http, (_, stop) => LinesAsync(http, stop));

    /// <summary>Each piece of the text is a message of the query's `role`.</summary>
    public Task AppendTextAsync(HttpContext http) => AppendAsync(http, (query, stop) =>
    {
        string role = query.Text("role") ?? "user";
        if (role is not ("system" or "developer" or "user" or "assistant")) throw ApiException.Value("role", "system, developer, user or assistant", $"'{role}'");
        return body.ReadTextAsync(http, PieceBytes, stop).Select(piece => (new ChatMessage(role, piece.Text), piece.End));
    });

    public static void CheckProducer(string? producer, bool hasNumber)
    {
        if (producer is null && hasNumber) throw new ApiException(400, "invalid_value", "'number' needs 'producer': it counts the pieces of one.", "number");
        if (producer is null) return;
        if (!hasNumber) throw new ApiException(400, "invalid_value", "'producer' needs 'number': 1 for its first piece, then 2, 3, ...", "producer");
        if (producer.Length is 0 or > ProducerLengthMax || producer.Any(c => c is < ' ' or > '~'))
            throw ApiException.Value("producer", $"1 to {ProducerLengthMax} printable ASCII characters", $"'{producer}'");
    }

    async Task AppendAsync(HttpContext http, Func<QueryFields, CancellationToken, IAsyncEnumerable<(ChatMessage Message, long End)>> open)
    {
        string tenant = Tenants.Of(http), id = ConversationId.Of(http);
        QueryFields query = new(http.Request);
        string? producer = query.Text("producer");
        long? first = query.Integer("number", 1, long.MaxValue);
        CheckProducer(producer, first is not null || producer is not null);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, shutdown.Begun);
        IAsyncEnumerable<(ChatMessage Message, long End)> pieces = open(query, stop.Token);
        query.RefuseOthers();
        await host.GetConversationAsync(tenant, id, http.RequestAborted); // a body of any length is not read for nothing

        long number = first ?? 1;
        AckWriter acks = new(http.Response);
        try
        {
            await foreach ((ChatMessage message, long end) in pieces)
            {
                AppendInput input = new([message]) { Producer = producer, Number = producer is null ? 0 : number, Wait = true };
                InputAck ack = await host.AppendInputAsync(tenant, id, input, stop.Token);
                await acks.SendAsync(new(number, ack.Seq, ack.Turn, ack.IsNew, end), stop.Token);
                number++;
            }
            if (!acks.HasStarted) throw new ApiException(400, "invalid_value", "The body is empty: there is nothing to append.");
            await acks.FinishAsync(null, http.RequestAborted);
        }
        catch (Exception e) when (acks.HasStarted && !http.RequestAborted.IsCancellationRequested)
        {
            await acks.FinishAsync(new ErrorEnvelope(errors.Explain(Reason(e), http).Body), http.RequestAborted);
        }
        catch (OperationCanceledException e) when (!http.RequestAborted.IsCancellationRequested)
        {
            throw Reason(e);
        }
    }

    Exception Reason(Exception e) => e is OperationCanceledException && shutdown.Begun.IsCancellationRequested
        ? Shutdown.Pause("go on behind the last piece that was acknowledged") : e;

    async IAsyncEnumerable<(ChatMessage Message, long End)> LinesAsync(HttpContext http, [EnumeratorCancellation] CancellationToken cancellation)
    {
        int line = 0;
        await foreach (BodyPiece piece in body.ReadLinesAsync(http, cancellation))
        {
            string name = $"line {++line}";
            using JsonDocument document = RequestBody.Parse(piece.Text, name);
            yield return (ItemReader.Read(new JsonFields(document.RootElement, name)), piece.End);
        }
    }
}

/// <summary>All pieces up to this one are stored.</summary>
/// <param name="Number">Of the piece; the next is one more.</param>
/// <param name="Seq">Of the event that holds it.</param>
/// <param name="New">False when it had been appended before.</param>
/// <param name="Bytes">Of the body up to its end.</param>
internal sealed record FeedAck(long Number, long Seq, int Turn, bool New, long Bytes);
