using System.Text.Json;
using LongCtx.Api.Items;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;

namespace LongCtx.Api.Responses;

/// <summary>/v1/responses and what lies below</summary>
internal sealed class ResponseEndpoint(
    IConversationHost host, ApiOptions options, RequestBody body, TurnSubmission submission, TurnReader turns, ResponseJournal journal, ResponseStream stream,
    StatelessResponse stateless, Shutdown shutdown)
{
    public async Task CreateAsync(HttpContext http)
    {
        string? key = IdempotencyKey.Of(http.Request);
        ResponseCall call;
        using (JsonDocument document = await body.ReadObjectAsync(http))
            call = ResponseRequestReader.Read(document.RootElement, key is null ? options.NewSeed : () => TurnSubmission.SeedOf(key));

        using CancellationTokenSource stop = shutdown.Link(http.RequestAborted);
        if (!call.Store)
        {
            await CompleteAsync(http, call, stop.Token);
            return;
        }
        string tenant = Tenants.Of(http);
        // Once submitted the turn goes on, whether or not the client is still there.
        (ConversationInfo conversation, TurnTicket ticket) = await submission.SubmitAsync(tenant, call, key, http.RequestAborted);
        if (call.Stream)
        {
            IAsyncEnumerable<ResponseEvent> events = journal.StreamAsync(tenant, conversation, ticket.Turn, ticket.AcceptedSeq, stop.Token);
            await stream.WriteAsync(http, events, -1, stop.Token, Pause(conversation, ticket.Turn));
        }
        else if (call.Background)
        {
            TurnInfo turn = await turns.FindAsync(tenant, conversation.Id, ticket.Turn, "response", http.RequestAborted);
            await AnswerAsync(http, await journal.ReadAsync(tenant, conversation, turn, http.RequestAborted));
        }
        else await AnswerAsync(http, await WaitAsync(http, tenant, conversation, ticket.Turn, ticket.AcceptedSeq, stop.Token));
    }

    /// <summary>With `stream=true` from behind `starting_after`, or behind the Last-Event-ID.</summary>
    public async Task GetAsync(HttpContext http)
    {
        QueryFields query = new(http.Request);
        bool isStream = query.Flag("stream") ?? false;
        int startingAfter = (int)(query.Integer("starting_after", 0, int.MaxValue) ?? -1);
        if (query.Flag("include_obfuscation") == true) throw ApiException.Unsupported("include_obfuscation", "LongCtx implements only false.");
        ItemEndpoint.RefuseInclude(query);
        query.RefuseOthers();
        if (startingAfter >= 0 && !isStream) throw new ApiException(400, "invalid_value", "'starting_after' is only for 'stream=true'.", "starting_after");
        string tenant = Tenants.Of(http);
        (ConversationInfo conversation, TurnInfo turn) = await FindAsync(http);
        if (!isStream)
        {
            await AnswerAsync(http, await journal.ReadAsync(tenant, conversation, turn, http.RequestAborted));
            return;
        }
        if (http.Request.Headers["Last-Event-ID"].ToString() is { Length: > 0 } last)
            startingAfter = int.TryParse(last, out int number) && number >= 0 ? number : throw ApiException.Value("Last-Event-ID", "a sequence number of 0 or more", $"'{last}'");
        if (startingAfter >= 0) await CheckExistsAsync(tenant, conversation, turn, startingAfter, http.RequestAborted);

        using CancellationTokenSource stop = shutdown.Link(http.RequestAborted);
        IAsyncEnumerable<ResponseEvent> events = journal.StreamAsync(tenant, conversation, turn.Turn, turn.StartSeq, stop.Token);
        await stream.WriteAsync(http, events, startingAfter, stop.Token, Pause(conversation, turn.Turn));
    }

    public async Task CancelAsync(HttpContext http)
    {
        using (JsonDocument document = await body.ReadObjectOrNothingAsync(http)) new JsonFields(document.RootElement).RefuseOthers();
        string tenant = Tenants.Of(http);
        (ConversationInfo conversation, TurnInfo turn) = await FindAsync(http);
        TurnInfo ended = await host.CancelTurnAsync(tenant, conversation.Id, turn.Turn, http.RequestAborted);
        await AnswerAsync(http, await journal.ReadAsync(tenant, conversation, ended, http.RequestAborted));
    }

    /// <summary>A response goes with the conversation that was made for it, as long as it is the last word there; from any other it cannot be taken out.</summary>
    public async Task DeleteAsync(HttpContext http)
    {
        string tenant = Tenants.Of(http);
        (ConversationInfo conversation, TurnInfo turn) = await FindAsync(http);
        bool isOwn = await turns.FirstEventAsync(tenant, conversation.Id, turn, http.RequestAborted) is TurnAccepted { Options.Response.OwnsConversation: true };
        if (!isOwn || turn.Turn != conversation.Turns)
        {
            string before = turn.StartSeq == 1 ? "" : $", or POST /v1/conversations/{conversation.Id}/fork with {{\"at\": {turn.StartSeq - 1}}} for one that ends before it";
            throw new ApiException(405, "method_not_allowed",
                $"The response is part of {conversation.Id}{(isOwn ? ", which has gone on since" : "")}, and what was said has been computed with. Delete the conversation{before}.")
            {
                Allow = "GET, HEAD",
            };
        }
        await host.DeleteConversationAsync(tenant, conversation.Id, http.RequestAborted);
        DeletedBody answer = new(ConversationIds.Response(conversation.Id, turn.Turn), "response.deleted");
        await http.Response.WriteAsJsonAsync(answer, ApiJson.Instance.DeletedBody, cancellationToken: http.RequestAborted);
    }

    public async Task ListInputAsync(HttpContext http)
    {
        QueryFields query = new(http.Request);
        PageRequest page = query.Page();
        ItemEndpoint.RefuseInclude(query);
        query.RefuseOthers();
        (ConversationInfo conversation, TurnInfo turn) = await FindAsync(http);
        ConversationEvent first = await turns.FirstEventAsync(Tenants.Of(http), conversation.Id, turn, http.RequestAborted);
        IEnumerable<MessageItem> items = TurnContent.From(conversation.Id, [first]).Items().SkipLast(1); // the last is the reply
        if (page.IsDescending) items = items.Reverse();
        if (ItemEndpoint.After(page, conversation.Id) is not null) items = items.SkipWhile(i => i.Id != page.After).Skip(1);
        await ItemEndpoint.AnswerAsync(http, items.ToAsyncEnumerable(), page.Limit);
    }

    async Task CompleteAsync(HttpContext http, ResponseCall call, CancellationToken cancellation)
    {
        IAsyncEnumerable<ResponseEvent> events = stateless.StreamAsync(Tenants.Of(http), call, cancellation);
        if (call.Stream)
        {
            await stream.WriteAsync(http, events, -1, cancellation, Shutdown.Refusal());
            return;
        }
        try
        {
            await AnswerAsync(http, ((ResponseStateEvent)await events.LastAsync(cancellation)).Response);
        }
        catch (OperationCanceledException) when (shutdown.IsOver && !http.RequestAborted.IsCancellationRequested)
        {
            throw Shutdown.Refusal();
        }
    }

    async Task<ResponseBody> WaitAsync(HttpContext http, string tenant, ConversationInfo conversation, int turn, long acceptedSeq, CancellationToken cancellation)
    {
        try
        {
            return await journal.WaitAsync(tenant, conversation, turn, acceptedSeq, cancellation);
        }
        catch (OperationCanceledException) when (shutdown.IsOver && !http.RequestAborted.IsCancellationRequested)
        {
            throw Pause(conversation, turn);
        }
    }

    async ValueTask<(ConversationInfo Conversation, TurnInfo Turn)> FindAsync(HttpContext http)
    {
        (string id, int turn) = ResponseId.Of(http);
        string name = (string)http.Request.RouteValues["id"]!;
        ConversationInfo conversation = await host.GetConversationAsync(Tenants.Of(http), id, http.RequestAborted);
        TurnInfo found = await turns.FindAsync(Tenants.Of(http), id, turn, $"response '{name}'", http.RequestAborted);
        return found.Status == TurnStatus.Input ? throw ResponseId.Unknown(name) : (conversation, found);
    }

    /// <summary>A client that has seen what is not there has to know, instead of waiting for what comes next.</summary>
    async ValueTask CheckExistsAsync(string tenant, ConversationInfo conversation, TurnInfo turn, int sequenceNumber, CancellationToken cancellation)
    {
        ResponseBuilder builder = new(ResponseHead.Of(conversation, turn.Turn));
        await foreach (ConversationEvent e in turns.EventsAsync(tenant, conversation.Id, turn, cancellation))
        {
            builder.Expand(e);
            if (builder.Newest >= sequenceNumber) return;
        }
        throw ResponseJournal.Rewound($"its newest sequence_number is {builder.Newest}, there is no {sequenceNumber}");
    }

    static LongCtxException Pause(ConversationInfo conversation, int turn) =>
        Shutdown.Pause($"GET /v1/responses/{ConversationIds.Response(conversation.Id, turn)}?stream=true&starting_after=N goes on behind sequence_number N");

    static Task AnswerAsync(HttpContext http, ResponseBody response) =>
        http.Response.WriteAsJsonAsync(response, ApiJson.Instance.ResponseBody, cancellationToken: http.RequestAborted);
}
