using System.Text;
using System.Text.Json;
using LongCtx.Api.Json;
using LongCtx.Api.Responses;

namespace LongCtx.Api.Tests;

/// <summary>Journal events to OpenAI's events: the same numbers and texts whenever they are read.</summary>
public sealed class ResponseBuilderTests(ITestOutputHelper output)
{
    static readonly string Conversation = ConversationIds.New("m");
    static readonly TurnUsage Usage = new(7, 3, 5, 2) { PrefillSeconds = 0.5, DecodeSeconds = 1.5, Window = new(10, 20, 2, 12), Restored = RestoreGrade.Exact };

    static readonly TurnAccepted Accepted = new("t", "h", [new("system", "s"), new("user", "u")], new()
    {
        MaxTokens = 9, Sampling = new() { Temperature = 0.5f, TopP = 0.25f, Seed = 42 }, Metadata = new Dictionary<string, string> { ["a"] = "b" },
        Response = new("s", "resp_x", true, false),
    })
    { Seq = 11, Turn = 3, At = 1_700_000_000_123 };

    [Fact]
    public void Expand_WholeTurn_IsTheFixedListOfEvents()
    {
        List<ResponseEvent> events = Expand([Accepted, Event(new Delta("Hel")), Event(new Delta("")), Event(new Evicted(1, 4, 2, "h")), Event(new Delta("lo")), Event(new Completed(FinishReason.Stop, Usage, "!", "!"))]);

        Assert.Equal(
            ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.delta",
             "response.output_text.delta", "response.output_text.delta", "response.output_text.done", "response.content_part.done",
             "response.output_item.done", "response.completed"],
            events.Select(e => e.Type));
        Assert.Equal(Enumerable.Range(0, events.Count), events.Select(e => e.SequenceNumber));
        Assert.Equal("Hello!", string.Concat(events.OfType<TextDeltaEvent>().Select(e => e.Delta)));
        Assert.Equal("Hello!", events.OfType<TextDoneEvent>().Single().Text);
        string item = ConversationIds.Message(Conversation, 3, 3);
        Assert.All(events.OfType<OutputItemEvent>(), e => Assert.Equal(item, e.Item.Id));
        Assert.All(events.OfType<TextDeltaEvent>(), e => Assert.Equal(item, e.ItemId));
    }

    [Fact]
    public void Response_Completed_HasOpenAIsShape()
    {
        ResponseBuilder builder = new(new(ConversationIds.Response(Conversation, 3), "m", Conversation));
        builder.Expand(Accepted);
        builder.Expand(Event(new Delta("Hi")));
        builder.Expand(Event(new Completed(FinishReason.Length, Usage)));
        JsonElement body = JsonSerializer.SerializeToElement(builder.Response(), ApiJson.Instance.ResponseBody);

        Assert.Equal(
            $$$"""
            {"id":"resp_{{{Conversation[5..]}}}_3","object":"response","created_at":1700000000,"status":"incomplete","background":true,"conversation":{"id":"{{{Conversation}}}"},
            "error":null,"incomplete_details":{"reason":"max_output_tokens"},"instructions":"s","max_output_tokens":9,"metadata":{"a":"b"},"model":"m",
            "output":[{"id":"msg_{{{Conversation[5..]}}}_3_3","type":"message","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]}],
            "parallel_tool_calls":true,"previous_response_id":"resp_x","store":true,"temperature":0.5,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":0.25,"truncation":"disabled",
            "usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12},
            "longctx":{"turn":3,"seq":11,"seed":42,"evicted_tokens":2,"window":{"visible":10,"capacity":20,"evicted":2,"total":12,"sinks":0},"prefill_seconds":0.5,"decode_seconds":1.5,"restored":"exact"}}
            """.ReplaceLineEndings(""), body.GetRawText());
    }

    [Fact]
    public void Response_EachEnding_HasItsStatusAndItsLastEvent()
    {
        (ConversationEvent End, string Type, string Status, string Item)[] endings =
        [
            (new Completed(FinishReason.Stop, Usage), "response.completed", "completed", "completed"),
            (new Completed(FinishReason.Length, Usage), "response.incomplete", "incomplete", "incomplete"),
            (new Cancelled(Usage, "x"), "response.incomplete", "cancelled", "incomplete"),
            (new Failed("context_length_exceeded", "too long", false), "response.failed", "failed", "incomplete"),
        ];
        foreach ((ConversationEvent end, string type, string status, string item) in endings)
        {
            ResponseStateEvent last = Assert.IsType<ResponseStateEvent>(Expand([Accepted, Event(end)])[^1]);
            Assert.Equal((type, status, item), (last.Type, last.Response.Status, last.Response.Output.Single().Status));
            Assert.Equal(status == "failed" ? new ResponseError("context_length_exceeded", "too long") : null, last.Response.Error);
            Assert.Equal(status == "incomplete", last.Response.IncompleteDetails is not null);
        }
    }

    [Fact]
    public void Expand_AnyTurnReadAnyNumberOfTimes_GivesTheSameBytes()
    {
        int seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        Random random = new(seed);
        for (int round = 0; round < 100; round++)
        {
            List<ConversationEvent> journal = [Accepted];
            for (int i = random.Next(30); i > 0; i--)
            {
                journal.Add(Event(random.Next(4) switch
                {
                    0 => new Evicted(i, i, 1, "h"),
                    1 => new Delta(""),
                    _ => new Delta(new string((char)('a' + random.Next(26)), random.Next(1, 5))),
                }));
            }
            if (random.Next(4) > 0) journal.Add(Event(random.Next(3) switch { 0 => new Cancelled(Usage), 1 => new Failed("x", "y", true), _ => new Completed(FinishReason.Stop, Usage, "z") }));

            string whole = Lines(Expand(journal));
            Assert.Equal(whole, Lines(Expand(journal)));
            int cut = random.Next(1, journal.Count + 1);
            Assert.StartsWith(Lines(Expand(journal[..cut])), whole, StringComparison.Ordinal);
        }
    }

    static string Lines(IEnumerable<ResponseEvent> events)
    {
        StringBuilder text = new();
        foreach (ResponseEvent e in events) text.AppendLine(JsonSerializer.Serialize(e, ApiJson.Instance.GetTypeInfo(e.GetType())!));
        return text.ToString();
    }

    static List<ResponseEvent> Expand(IEnumerable<ConversationEvent> journal)
    {
        ResponseBuilder builder = new(new(ConversationIds.Response(Conversation, 3), "m", Conversation));
        return [.. journal.SelectMany(builder.Expand)];
    }

    static ConversationEvent Event(ConversationEvent e) => e with { Turn = 3, Seq = 12, At = 1_700_000_001_000 };
}
