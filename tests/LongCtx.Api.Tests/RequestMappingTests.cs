using System.Net;

namespace LongCtx.Api.Tests;

/// <summary>What the host is asked for, field by field.</summary>
public sealed class RequestMappingTests : IAsyncLifetime
{
    readonly ScriptedHost host = new();
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(host, o => o.NewSeed = () => 4242);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Chat_EveryField_ReachesTheHost()
    {
        CompletionRequest request = await SendAsync("""
            {"model":"scripted","max_completion_tokens":9,"stop":["a","b"],"seed":-1,"temperature":0.5,"top_p":0.25,"top_k":3,"min_p":0.125,
             "presence_penalty":-1.5,"frequency_penalty":0.75,"repetition_penalty":1.5,"penalty_window":64,"logit_bias":{"7":-100,"8":2.5},
             "logprobs":true,"top_logprobs":2,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hello"}]}
            """);

        Assert.Equal("scripted", request.Model);
        Assert.Equal(9, request.MaxTokens);
        Assert.Equal(["a", "b"], request.Stop);
        Assert.Equal(2, request.TopLogprobs);
        Assert.Equal([new ChatMessage("system", "Be brief."), new ChatMessage("user", "hello")], request.Messages);
        Assert.Null(request.Prompt);
        SamplingOptions sampling = request.Sampling;
        Assert.Equal(new Dictionary<int, float> { [7] = -100, [8] = 2.5f }, sampling.LogitBias);
        SamplingOptions expected = new()
        {
            Temperature = 0.5f, TopP = 0.25f, TopK = 3, MinP = 0.125f, PresencePenalty = -1.5f, FrequencyPenalty = 0.75f,
            RepetitionPenalty = 1.5f, PenaltyWindow = 64, Seed = ulong.MaxValue, LogitBias = sampling.LogitBias,
        };
        Assert.Equal(expected, sampling);
        Assert.Equal("default", host.LastTenant);
    }

    [Fact]
    public async Task Chat_NothingSaid_UsesOpenAIsDefaultsAndANewSeed()
    {
        CompletionRequest request = await SendAsync("""{"messages":[{"role":"user","content":"hello"}]}""");
        Assert.Null(request.Model);
        Assert.Null(request.MaxTokens);
        Assert.Null(request.TopLogprobs);
        Assert.Empty(request.Stop);
        Assert.Equal(new SamplingOptions { Seed = 4242 }, request.Sampling);
    }

    [Theory]
    [InlineData("""
        "user":"u","metadata":{"a":"b"},"n":1,"service_tier":"auto","store":false,"parallel_tool_calls":true,"safety_identifier":"s","prompt_cache_key":"k"
        """)]
    [InlineData("""
        "tools":[],"tool_choice":"none","functions":[],"response_format":{"type":"text"},"modalities":["text"],"prediction":{},"logit_bias":{},"stop":[]
        """)]
    [InlineData("""
        "tools":null,"n":null,"seed":null,"stop":null,"temperature":null,"logprobs":null,"max_tokens":null,"stream":null,"stream_options":null,"model":null
        """)]
    [InlineData("\"max_tokens\":5,\"max_completion_tokens\":5")]
    public async Task Chat_FieldsWithoutEffect_AreAccepted(string fields) =>
        Assert.Equal("hello", (await SendAsync($"{{{fields},\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}")).Messages![^1].Content);

    [Fact]
    public async Task Chat_TextPartsAndEveryRole_ArePassedOnAsTheyAre()
    {
        CompletionRequest request = await SendAsync("""
            {"messages":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"text","text":"one "},{"type":"text","text":"two"}]},
             {"role":"assistant","content":"a","refusal":null,"annotations":[],"tool_calls":null},{"role":"tool","content":"t","tool_call_id":"x"},
             {"role":"user","content":""},{"role":"user","content":"é👍🏽\u0000\n"}]}
            """);
        Assert.Equal(
            [new("developer", "d"), new("user", "one two"), new("assistant", "a"), new("tool", "t"), new("user", ""), new("user", "é👍🏽\0\n")],
            request.Messages!);
    }

    [Fact]
    public async Task Chat_SingleStop_IsAListOfOne() =>
        Assert.Equal(["END"], (await SendAsync("""{"stop":"END","messages":[{"role":"user","content":"hello"}]}""")).Stop);

    async Task<CompletionRequest> SendAsync(string body)
    {
        using HttpResponseMessage response = await server.PostAsync("/v1/chat/completions", body, "application/json; charset=UTF-8");
        Assert.True(response.StatusCode == HttpStatusCode.OK, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        return host.LastRequest!;
    }
}
