using System.Text.Json;
using OpenAI.Responses;

namespace LongCtx.Api.Tests;

/// <summary>/v1/responses on the real host, through OpenAI's client.</summary>
public sealed class ResponseTests(LiveServer server)
{
    const int Tokens = 12;

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    static CreateResponseOptions Ask(string text, Action<CreateResponseOptions>? configure = null)
    {
        CreateResponseOptions options = new() { MaxOutputTokenCount = Tokens, Temperature = 0, InputItems = { ResponseItem.CreateUserMessageItem(text) } };
        options.Patch.Set("$.logit_bias"u8, BinaryData.FromString("""{"0":-100,"1":-100,"2":-100}"""));
        configure?.Invoke(options);
        return options;
    }

    [Fact]
    public async Task Create_WithoutAConversation_GetsOneAndIsReadBackTheSame()
    {
        ResponseResult response = await server.Responses.CreateResponseAsync(Ask("The king went to the sea", o =>
        {
            o.Metadata["a"] = "b";
            o.Instructions = "Be brief.";
        }), Cancellation);

        Assert.Equal((ResponseStatus.Incomplete, Tokens, "Be brief."), (response.Status!.Value, response.Usage.OutputTokenCount, response.Instructions.Count == 0 ? "" : "Be brief."));
        Assert.Equal(ResponseIncompleteStatusReason.MaxOutputTokens, response.IncompleteStatusDetails.Reason);
        Assert.NotEmpty(response.GetOutputText());
        Assert.Equal("b", response.Metadata["a"]);
        Assert.Equal(LiveServer.Model, response.Model);
        Assert.StartsWith("resp_", response.Id, StringComparison.Ordinal);
        ResponseResult read = await server.Responses.GetResponseAsync(response.Id, Cancellation);
        Assert.Equal((response.Id, response.GetOutputText(), response.CreatedAt), (read.Id, read.GetOutputText(), read.CreatedAt));

        string conversation = response.ConversationOptions.ConversationId;
        JsonElement items = await server.JsonAsync("GET", $"/v1/conversations/{conversation}/items?order=asc");
        Assert.Equal(
            [("system", "Be brief."), ("user", "The king went to the sea"), ("assistant", response.GetOutputText())],
            items.GetProperty("data").EnumerateArray().Select(i => (i.GetProperty("role").GetString(), i.GetProperty("content")[0].GetProperty("text").GetString())));
    }

    [Fact]
    public async Task Create_Streamed_IsTheStoredResponseEventByEvent()
    {
        List<StreamingResponseUpdate> updates = [];
        await foreach (StreamingResponseUpdate update in await server.Responses.CreateResponseStreamingAsync(Ask("Once upon a time", o => (o.StreamingEnabled, o.MaxOutputTokenCount) = (true, 300)), Cancellation)) updates.Add(update);

        Assert.Equal(Enumerable.Range(0, updates.Count), updates.Select(u => u.SequenceNumber));
        ResponseResult last = Assert.IsType<StreamingResponseIncompleteUpdate>(updates[^1]).Response;
        Assert.Equal(ResponseStatus.InProgress, Assert.IsType<StreamingResponseCreatedUpdate>(updates[0]).Response.Status);
        Assert.IsType<StreamingResponseInProgressUpdate>(updates[1]);
        Assert.IsType<StreamingResponseOutputItemAddedUpdate>(updates[2]);
        Assert.IsType<StreamingResponseContentPartAddedUpdate>(updates[3]);
        string text = string.Concat(updates.OfType<StreamingResponseOutputTextDeltaUpdate>().Select(u => u.Delta));
        Assert.Equal(text, Assert.Single(updates.OfType<StreamingResponseOutputTextDoneUpdate>()).Text);
        Assert.Equal(text, last.GetOutputText());
        Assert.True(updates.OfType<StreamingResponseOutputTextDeltaUpdate>().Count() > 1, "more tokens than may wait to be stored must come in several pieces");

        List<StreamingResponseUpdate> again = [];
        await foreach (StreamingResponseUpdate update in await server.Responses.GetResponseStreamingAsync(new GetResponseOptions(last.Id) { StreamingEnabled = true, StartingAfter = 4 }, Cancellation)) again.Add(update);
        Assert.Equal(updates.Skip(5).Select(u => (u.SequenceNumber, u.Kind)), again.Select(u => (u.SequenceNumber, u.Kind)));
    }

    [Fact]
    public async Task Create_InAConversation_AnswersTheWholeOfIt()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"Call me Ishmael."}]}""");
        ResponseResult first = await server.Responses.CreateResponseAsync(Ask("one", o => o.ConversationOptions = new(id)), Cancellation);
        ResponseResult second = await server.Responses.CreateResponseAsync(Ask("two", o => o.ConversationOptions = new(id)), Cancellation);
        Assert.Equal((id, id), (first.ConversationOptions.ConversationId, second.ConversationOptions.ConversationId));
        Assert.True(second.Usage.InputTokenCount > first.Usage.InputTokenCount + Tokens - 2);
        Assert.True(second.Usage.InputTokenDetails.CachedTokenCount > first.Usage.InputTokenCount / 2, "the second turn continues what the first has computed");

        // The same words as one stateless request give the same reply: the conversation is nothing else.
        CreateResponseOptions stateless = Ask("Call me Ishmael.", o =>
        {
            o.StoredOutputEnabled = false;
            o.InputItems.Add(ResponseItem.CreateUserMessageItem("one"));
        });
        ResponseResult unstored = await server.Responses.CreateResponseAsync(stateless, Cancellation);
        Assert.Equal(first.GetOutputText(), unstored.GetOutputText());
    }

    [Fact]
    public async Task Create_BehindThePreviousResponse_ContinuesTheNewestAndForksAnyOther()
    {
        ResponseResult first = await server.Responses.CreateResponseAsync(Ask("one"), Cancellation);
        ResponseResult second = await server.Responses.CreateResponseAsync(Ask("two", o => o.PreviousResponseId = first.Id), Cancellation);
        ResponseResult fork = await server.Responses.CreateResponseAsync(Ask("two", o => o.PreviousResponseId = first.Id), Cancellation);
        ResponseResult deeper = await server.Responses.CreateResponseAsync(Ask("three", o => o.PreviousResponseId = fork.Id), Cancellation);

        string original = first.ConversationOptions.ConversationId, forked = fork.ConversationOptions.ConversationId;
        Assert.Equal(original, second.ConversationOptions.ConversationId);
        Assert.NotEqual(original, forked);
        Assert.Equal(forked, deeper.ConversationOptions.ConversationId);
        Assert.Equal(second.GetOutputText(), fork.GetOutputText());
        Assert.Equal(first.Id, fork.PreviousResponseId);
        Assert.Equal((2, 3), (await TurnsAsync(original), await TurnsAsync(forked)));

        // An append is a turn too: what it follows is not the newest any more.
        await server.JsonAsync("POST", $"/v1/conversations/{forked}/items", """{"items":[{"role":"user","content":"by the way"}]}""");
        ResponseResult aside = await server.Responses.CreateResponseAsync(Ask("four", o => o.PreviousResponseId = deeper.Id), Cancellation);
        Assert.NotEqual(forked, aside.ConversationOptions.ConversationId);
    }

    async Task<int> TurnsAsync(string id) => (await server.Host.GetConversationAsync("default", id, Cancellation)).Turns;

    [Fact]
    public async Task Create_Instructions_OpenTheConversationAndAreRepeatedOnlyWhereTheyChange()
    {
        string id = await server.CreateAsync();
        foreach (string? instructions in (string?[])["Be brief.", "Be brief.", null, "Be brief.", "Be kind.", null, "Be kind."])
            await server.Responses.CreateResponseAsync(Ask("x", o => (o.ConversationOptions, o.Instructions, o.MaxOutputTokenCount) = (new(id), instructions, 2)), Cancellation);
        JsonElement items = await server.JsonAsync("GET", $"/v1/conversations/{id}/items?order=asc&limit=100");
        string roles = string.Concat(items.GetProperty("data").EnumerateArray().Select(i => i.GetProperty("role").GetString()![0]));
        Assert.Equal("sua" + "ua" + "ua" + "ua" + "sua" + "ua" + "ua", roles);
        JsonElement last = await server.JsonAsync("GET", $"/v1/responses/resp_{id[5..]}_6");
        Assert.Equal("Be kind.", last.GetProperty("instructions").GetString());
    }

    [Fact]
    public async Task Create_SameIdempotencyKey_RunsOnceWhateverHasHappenedSince()
    {
        string id = await server.CreateAsync();
        foreach (string place in (string[])[$"\"conversation\":\"{id}\",", ""])
        {
            string key = Guid.NewGuid().ToString(), body = $"{{{place}\"input\":\"hi\",\"instructions\":\"Be {key}.\",\"max_output_tokens\":4}}";
            JsonElement first = await server.JsonAsync("POST", "/v1/responses", body, key);
            string conversation = first.GetProperty("conversation").GetProperty("id").GetString()!;
            await server.RespondAsync($"\"conversation\":\"{conversation}\",\"input\":\"and now\",\"instructions\":\"Be else.\"", 2);
            JsonElement second = await server.JsonAsync("POST", "/v1/responses", body, key);
            Assert.Equal(first.GetRawText(), second.GetRawText());
            Assert.Equal(2, await TurnsAsync(conversation) % 2 + 2);

            HttpRequestMessage other = server.Request("POST", "/v1/responses", body.Replace("\"hi\"", "\"other\"", StringComparison.Ordinal));
            other.Headers.Add("Idempotency-Key", key);
            using HttpResponseMessage refused = await server.Http.SendAsync(other, Cancellation);
            await refused.AssertErrorAsync(409, "conflict");
        }
    }

    [Fact]
    public async Task Create_SameIdempotencyKeyBehindAPreviousResponse_ContinuesOrForksOnce()
    {
        JsonElement first = await server.RespondAsync("\"input\":\"one\"", 2);
        string previous = first.GetProperty("id").GetString()!;
        string[] keys = [Guid.NewGuid().ToString(), Guid.NewGuid().ToString()];
        JsonElement[] answers = new JsonElement[4];
        for (int i = 0; i < 4; i++) answers[i] = await server.JsonAsync("POST", "/v1/responses", LiveServer.Body($"\"previous_response_id\":\"{previous}\",\"input\":\"two\"", 2), keys[i % 2]);
        Assert.Equal(answers[0].GetRawText(), answers[2].GetRawText());
        Assert.Equal(answers[1].GetRawText(), answers[3].GetRawText());
        Assert.Equal(first.GetProperty("conversation").GetRawText(), answers[0].GetProperty("conversation").GetRawText());
        Assert.NotEqual(first.GetProperty("conversation").GetRawText(), answers[1].GetProperty("conversation").GetRawText());
    }

    [Fact]
    public async Task Create_InTheBackground_AnswersAtOnceAndCanBeCancelled()
    {
        CreateResponseOptions endless = Ask("Go on and on.", o => (o.BackgroundModeEnabled, o.MaxOutputTokenCount) = (true, null));
        ResponseResult started = await server.Responses.CreateResponseAsync(endless, Cancellation);
        Assert.Equal((ResponseStatus.InProgress, true), (started.Status!.Value, started.BackgroundModeEnabled!.Value));

        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"conversation":"{{started.ConversationOptions.ConversationId}}","input":"x"}""", 409, "turn_in_progress");
        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"previous_response_id":"{{started.Id}}","input":"x"}""", 409, "turn_in_progress");
        ResponseResult cancelled = await server.Responses.CancelResponseAsync(started.Id, Cancellation);
        ResponseResult again = await server.Responses.CancelResponseAsync(started.Id, Cancellation);
        Assert.Equal((ResponseStatus.Cancelled, ResponseStatus.Cancelled), (cancelled.Status!.Value, again.Status!.Value));
        Assert.Equal(cancelled.GetOutputText(), again.GetOutputText());

        List<StreamingResponseUpdate> updates = [];
        await foreach (StreamingResponseUpdate update in await server.Responses.GetResponseStreamingAsync(new GetResponseOptions(started.Id) { StreamingEnabled = true }, Cancellation)) updates.Add(update);
        Assert.Equal(ResponseStatus.Cancelled, Assert.IsType<StreamingResponseIncompleteUpdate>(updates[^1]).Response.Status);
    }

    [Fact]
    public async Task Create_ThatWaits_FollowsTheTurnInProgress()
    {
        string id = await server.CreateAsync();
        JsonElement first = await server.JsonAsync("POST", "/v1/responses", LiveServer.Body($"\"conversation\":\"{id}\",\"input\":\"one\",\"background\":true", 200));
        JsonElement second = await server.RespondAsync($"\"conversation\":{{\"id\":\"{id}\"}},\"input\":\"two\",\"wait\":true", 2);
        Assert.Equal((1, 2), (first.GetProperty("longctx").GetProperty("turn").GetInt32(), second.GetProperty("longctx").GetProperty("turn").GetInt32()));
        Assert.Equal("incomplete", (await server.JsonAsync("GET", $"/v1/responses/{first.GetProperty("id").GetString()}")).GetProperty("status").GetString());
    }

    [Fact]
    public async Task Create_WithoutInput_AnswersWhatWasAppended()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"What is a whale?"}]}""");
        JsonElement reply = await server.RespondAsync($"\"conversation\":\"{id}\"");
        Assert.NotEmpty(LiveServer.TextOf(reply));
        Assert.Empty((await server.JsonAsync("GET", $"/v1/responses/{reply.GetProperty("id").GetString()}/input_items")).GetProperty("data").EnumerateArray());
        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"conversation":"{{await server.CreateAsync()}}"}""", 400, "invalid_value", "input");
    }

    [Fact]
    public async Task Create_NotStored_KeepsNothing()
    {
        long before = (await server.Host.GetUsageAsync("default", Cancellation)).Conversations;
        ResponseResult response = await server.Responses.CreateResponseAsync(Ask("The king", o => (o.StoredOutputEnabled, o.Instructions) = (false, "Be brief.")), Cancellation);
        Assert.Null(response.ConversationOptions);
        Assert.NotEmpty(response.GetOutputText());
        await server.AssertErrorAsync("GET", $"/v1/responses/{response.Id}", null, 404, "not_found");

        List<StreamingResponseUpdate> updates = [];
        await foreach (StreamingResponseUpdate update in await server.Responses.CreateResponseStreamingAsync(
            Ask("The king", o => (o.StoredOutputEnabled, o.StreamingEnabled, o.Instructions) = (false, true, "Be brief.")), Cancellation)) updates.Add(update);
        Assert.Equal(Enumerable.Range(0, updates.Count), updates.Select(u => u.SequenceNumber));
        Assert.Equal(response.GetOutputText(), string.Concat(updates.OfType<StreamingResponseOutputTextDeltaUpdate>().Select(u => u.Delta)));
        Assert.Equal(response.GetOutputText(), Assert.IsType<StreamingResponseIncompleteUpdate>(updates[^1]).Response.GetOutputText());
        Assert.True(before <= (await server.Host.GetUsageAsync("default", Cancellation)).Conversations);
    }

    [Fact]
    public async Task InputItems_ThroughTheSdk_AreTheMessagesOfTheRequest()
    {
        ResponseResult response = await server.Responses.CreateResponseAsync(Ask("one", o =>
        {
            o.InputItems.Add(ResponseItem.CreateAssistantMessageItem("two"));
            o.InputItems.Add(ResponseItem.CreateUserMessageItem("three"));
        }), Cancellation);
        List<string> texts = [];
        ResponseItemCollectionOptions pages = new(response.Id) { Order = ResponseItemCollectionOrder.Ascending, PageSizeLimit = 2 };
        await foreach (ResponseItem item in server.Responses.GetResponseInputItemsAsync(pages, Cancellation)) texts.Add(Assert.IsAssignableFrom<MessageResponseItem>(item).Content.Single().Text);
        Assert.Equal(["one", "two", "three"], texts);
        JsonElement newest = await server.JsonAsync("GET", $"/v1/responses/{response.Id}/input_items?limit=1");
        Assert.Equal("three", newest.GetProperty("data")[0].GetProperty("content")[0].GetProperty("text").GetString());
        Assert.True(newest.GetProperty("has_more").GetBoolean());
    }

    [Fact]
    public async Task Delete_AResponse_TakesItsOwnConversationOrIsRefusedNamingFork()
    {
        ResponseResult own = await server.Responses.CreateResponseAsync(Ask("one"), Cancellation);
        ResponseDeletionResult deleted = await server.Responses.DeleteResponseAsync(own.Id, Cancellation);
        Assert.True(deleted.Deleted);
        Assert.Equal(own.Id, deleted.ResponseId);
        await server.AssertErrorAsync("GET", $"/v1/responses/{own.Id}", null, 410, "deleted");
        await server.AssertErrorAsync("GET", $"/v1/conversations/{own.ConversationOptions.ConversationId}", null, 410, "deleted");

        ResponseResult first = await server.Responses.CreateResponseAsync(Ask("one"), Cancellation);
        ResponseResult second = await server.Responses.CreateResponseAsync(Ask("two", o => o.PreviousResponseId = first.Id), Cancellation);
        ResponseResult guest = await server.Responses.CreateResponseAsync(Ask("one", o => o.ConversationOptions = new(server.CreateAsync().Result)), Cancellation);
        foreach (string id in (string[])[first.Id, second.Id, guest.Id])
        {
            using HttpResponseMessage refused = await server.SendAsync("DELETE", $"/v1/responses/{id}");
            JsonElement error = await refused.AssertErrorAsync(405, "method_not_allowed");
            Assert.Contains(id == second.Id ? "/fork" : "Delete the conversation", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        }
        Assert.NotEmpty((await server.Responses.GetResponseAsync(first.Id, Cancellation)).Value.GetOutputText());
    }

    [Theory]
    [InlineData("\"tools\":[{\"type\":\"function\"}]", "unsupported_parameter", "tools")]
    [InlineData("\"reasoning\":{\"effort\":\"high\"}", "unsupported_parameter", "reasoning")]
    [InlineData("\"include\":[\"message.output_text.logprobs\"]", "unsupported_parameter", "include")]
    [InlineData("\"text\":{\"format\":{\"type\":\"json_object\"}}", "unsupported_parameter", "text.format")]
    [InlineData("\"truncation\":\"auto\"", "unsupported_parameter", "truncation")]
    [InlineData("\"top_logprobs\":3", "unsupported_parameter", "top_logprobs")]
    [InlineData("\"tool_choice\":\"required\"", "unsupported_parameter", "tool_choice")]
    [InlineData("\"prompt\":{\"id\":\"x\"}", "unsupported_parameter", "prompt")]
    [InlineData("\"max_tool_calls\":1", "unsupported_parameter", "max_tool_calls")]
    [InlineData("\"stream\":true,\"stream_options\":{\"include_obfuscation\":true}", "unsupported_parameter", "stream_options.include_obfuscation")]
    [InlineData("\"stream_options\":{}", "invalid_value", "stream_options")]
    [InlineData("\"max_tokens\":3", "unknown_parameter", "max_tokens")]
    [InlineData("\"background\":1", "invalid_type", "background")]
    [InlineData("\"store\":\"no\"", "invalid_type", "store")]
    [InlineData("\"conversation\":5", "invalid_type", "conversation")]
    [InlineData("\"conversation\":{}", "missing_required_parameter", "conversation.id")]
    [InlineData("\"conversation\":\"conv_x\",\"previous_response_id\":\"resp_x\"", "invalid_value", "previous_response_id")]
    [InlineData("\"store\":false,\"background\":true", "invalid_value", "background")]
    [InlineData("\"store\":false,\"conversation\":\"conv_x\"", "invalid_value", "store")]
    [InlineData("\"store\":false,\"previous_response_id\":\"resp_x\"", "invalid_value", "store")]
    [InlineData("\"max_output_tokens\":0", "invalid_value", "max_output_tokens")]
    [InlineData("\"temperature\":3", "invalid_value", "temperature")]
    [InlineData("\"stop\":[\"\"]", "invalid_value", "stop[0]")]
    [InlineData("\"metadata\":{\"a\":{}}", "invalid_type", "metadata.a")]
    [InlineData("\"instructions\":[]", "invalid_type", "instructions")]
    [InlineData("\"text\":\"x\"", "invalid_type", "text")]
    public async Task Create_BadField_IsRefusedByName(string field, string code, string parameter) =>
        await server.AssertErrorAsync("POST", "/v1/responses", $"{{\"input\":\"x\",{field}}}", 400, code, parameter);

    [Theory]
    [InlineData("""{"input":5}""", "invalid_type", "input")]
    [InlineData("""{"input":[{"type":"function_call_output","call_id":"x","output":"y"}]}""", "unsupported_parameter", "input[0].type")]
    [InlineData("""{"input":[{"role":"user","content":[]}]}""", "invalid_value", "input[0].content")]
    [InlineData("""{"input":[{"role":"user","content":"x","color":1}]}""", "unknown_parameter", "input[0].color")]
    [InlineData("""{"store":false}""", "missing_required_parameter", "input")]
    public async Task Create_BadInput_IsRefusedByPath(string body, string code, string parameter) =>
        await server.AssertErrorAsync("POST", "/v1/responses", body, 400, code, parameter);

    [Fact]
    public async Task Create_NeutralFields_AreAccepted() => await server.RespondAsync(
        "\"input\":\"x\",\"tools\":[],\"tool_choice\":\"auto\",\"parallel_tool_calls\":true,\"user\":\"u\",\"service_tier\":\"auto\",\"truncation\":\"disabled\",\"include\":[]," +
        "\"text\":{\"format\":{\"type\":\"text\"}},\"top_logprobs\":0,\"reasoning\":null,\"prompt_cache_key\":\"k\",\"safety_identifier\":\"s\",\"top_k\":5,\"min_p\":0.1,\"seed\":3", 1);

    [Fact]
    public async Task Create_AnotherModelThanTheConversations_Is400()
    {
        string id = await server.CreateAsync();
        await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"conversation":"{{id}}","input":"x","model":"gpt-5"}""", 400, "invalid_value", "model");
        await server.AssertErrorAsync("POST", "/v1/responses", """{"input":"x","model":"gpt-5"}""", 404, "model_not_found", "model");
        await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"x\",\"model\":\"{LiveServer.Model}\"", 1);
    }

    [Fact]
    public async Task AnyCall_UnknownResponse_Is404()
    {
        string id = await server.CreateAsync("""{"items":[{"role":"user","content":"x"}]}""");
        foreach (string response in (string[])["resp_x", $"resp_{id[5..]}_1", $"resp_{id[5..]}_2", $"resp_{new string('0', 40)}_1", $"resp_{id[5..]}_1_1", id])
        {
            await server.AssertErrorAsync("GET", $"/v1/responses/{response}", null, 404, "not_found");
            await server.AssertErrorAsync("GET", $"/v1/responses/{response}?stream=true", null, 404, "not_found");
            await server.AssertErrorAsync("DELETE", $"/v1/responses/{response}", null, 404, "not_found");
            await server.AssertErrorAsync("POST", $"/v1/responses/{response}/cancel", null, 404, "not_found");
            await server.AssertErrorAsync("GET", $"/v1/responses/{response}/input_items", null, 404, "not_found");
            await server.AssertErrorAsync("POST", "/v1/responses", $$"""{"previous_response_id":"{{response}}","input":"x"}""", 404, "not_found");
        }
    }

    [Theory]
    [InlineData("starting_after=3", "starting_after")]
    [InlineData("stream=true&starting_after=-1", "starting_after")]
    [InlineData("stream=true&starting_after=x", "starting_after")]
    [InlineData("stream=yes", "stream")]
    public async Task Get_BadQuery_IsRefusedByName(string query, string parameter) =>
        await server.AssertErrorAsync("GET", $"/v1/responses/resp_{new string('0', 40)}_1?{query}", null, 400, "invalid_value", parameter);
}
