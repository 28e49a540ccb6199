using System.Net;
using System.Text;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>Requests that must be refused, each with OpenAI's error object, the right status and the name of what is wrong.</summary>
public sealed class BadInputTests : IAsyncLifetime
{
    const string Chat = "/v1/chat/completions";
    const string Hello = "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]";

    readonly ScriptedHost host = new();
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(host);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Theory]
    [InlineData("\"n\":2", "n")]
    [InlineData("\"n\":\"1\"", "n")]
    [InlineData("\"tools\":[{\"type\":\"function\"}]", "tools")]
    [InlineData("\"tool_choice\":\"required\"", "tool_choice")]
    [InlineData("\"functions\":[{}]", "functions")]
    [InlineData("\"response_format\":{\"type\":\"json_object\"}", "response_format")]
    [InlineData("\"response_format\":\"text\"", "response_format")]
    [InlineData("\"store\":true", "store")]
    [InlineData("\"modalities\":[\"text\",\"audio\"]", "modalities")]
    [InlineData("\"audio\":{}", "audio")]
    [InlineData("\"reasoning_effort\":\"high\"", "reasoning_effort")]
    [InlineData("\"verbosity\":\"low\"", "verbosity")]
    [InlineData("\"web_search_options\":{}", "web_search_options")]
    [InlineData("\"stream\":true,\"stream_options\":{\"include_obfuscation\":true}", "stream_options.include_obfuscation")]
    public async Task Chat_FieldNotImplemented_IsRefusedByName(string field, string name) =>
        await AssertRefusedAsync($"{{{field},{Hello}}}", "unsupported_parameter", name);

    [Theory]
    [InlineData("\"nonsense\":1", "nonsense")]
    [InlineData("\"nonsense\":null", "nonsense")]
    [InlineData("\"Temperature\":1", "Temperature")]
    [InlineData("\"stream\":true,\"stream_options\":{\"usage\":true}", "stream_options.usage")]
    public async Task Chat_UnknownField_IsRefusedByName(string field, string name) =>
        await AssertRefusedAsync($"{{{field},{Hello}}}", "unknown_parameter", name);

    [Theory]
    [InlineData("\"model\":5", "model")]
    [InlineData("\"stream\":1", "stream")]
    [InlineData("\"stream\":\"true\"", "stream")]
    [InlineData("\"stream\":true,\"stream_options\":[]", "stream_options")]
    [InlineData("\"stream\":true,\"stream_options\":{\"include_usage\":\"yes\"}", "stream_options.include_usage")]
    [InlineData("\"temperature\":\"hot\"", "temperature")]
    [InlineData("\"top_k\":true", "top_k")]
    [InlineData("\"max_tokens\":\"5\"", "max_tokens")]
    [InlineData("\"stop\":5", "stop")]
    [InlineData("\"stop\":[5]", "stop[0]")]
    [InlineData("\"seed\":\"x\"", "seed")]
    [InlineData("\"logprobs\":2", "logprobs")]
    [InlineData("\"logit_bias\":[1]", "logit_bias")]
    [InlineData("\"logit_bias\":{\"5\":\"x\"}", "logit_bias.5")]
    [InlineData("\"user\":5", "user")]
    [InlineData("\"metadata\":\"x\"", "metadata")]
    [InlineData("\"service_tier\":{}", "service_tier")]
    [InlineData("\"parallel_tool_calls\":\"x\"", "parallel_tool_calls")]
    public async Task Chat_WrongType_IsRefusedByName(string field, string name) =>
        await AssertRefusedAsync($"{{{field},{Hello}}}", "invalid_type", name);

    [Theory]
    [InlineData("\"temperature\":-0.1", "temperature")]
    [InlineData("\"temperature\":2.1", "temperature")]
    [InlineData("\"temperature\":1e999", "temperature")]
    [InlineData("\"top_p\":0", "top_p")]
    [InlineData("\"top_p\":1.01", "top_p")]
    [InlineData("\"top_k\":-1", "top_k")]
    [InlineData("\"min_p\":1.5", "min_p")]
    [InlineData("\"presence_penalty\":-2.5", "presence_penalty")]
    [InlineData("\"frequency_penalty\":3", "frequency_penalty")]
    [InlineData("\"repetition_penalty\":0", "repetition_penalty")]
    [InlineData("\"penalty_window\":1025", "penalty_window")]
    [InlineData("\"max_tokens\":0", "max_tokens")]
    [InlineData("\"max_tokens\":-5", "max_tokens")]
    [InlineData("\"max_tokens\":1.5", "max_tokens")]
    [InlineData("\"max_tokens\":99999999999", "max_tokens")]
    [InlineData("\"max_tokens\":5,\"max_completion_tokens\":6", "max_tokens")]
    [InlineData("\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", "stop")]
    [InlineData("\"stop\":\"\"", "stop")]
    [InlineData("\"stop\":[\"a\",\"\"]", "stop[1]")]
    [InlineData("\"seed\":1.5", "seed")]
    [InlineData("\"seed\":99999999999999999999", "seed")]
    [InlineData("\"top_logprobs\":3", "top_logprobs")]
    [InlineData("\"logprobs\":true,\"top_logprobs\":21", "top_logprobs")]
    [InlineData("\"logit_bias\":{\"x\":1}", "logit_bias")]
    [InlineData("\"logit_bias\":{\"-1\":1}", "logit_bias")]
    [InlineData("\"logit_bias\":{\"5\":101}", "logit_bias")]
    [InlineData("\"stream_options\":{\"include_usage\":true}", "stream_options")]
    [InlineData("\"user\":\"x\",\"model\":\"\\ud800\"", "model")]
    public async Task Chat_ValueOutOfRange_IsRefusedByName(string field, string name) =>
        await AssertRefusedAsync($"{{{field},{Hello}}}", "invalid_value", name);

    [Theory]
    [InlineData("""{}""", "missing_required_parameter", "messages")]
    [InlineData("""{"messages":null}""", "missing_required_parameter", "messages")]
    [InlineData("""{"messages":[]}""", "invalid_value", "messages")]
    [InlineData("""{"messages":"hello"}""", "invalid_type", "messages")]
    [InlineData("""{"messages":["hello"]}""", "invalid_type", "messages[0]")]
    [InlineData("""{"messages":[{"content":"x"}]}""", "missing_required_parameter", "messages[0].role")]
    [InlineData("""{"messages":[{"role":"user"}]}""", "missing_required_parameter", "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":"x"},{"role":"owner","content":"x"}]}""", "invalid_value", "messages[1].role")]
    [InlineData("""{"messages":[{"role":5,"content":"x"}]}""", "invalid_type", "messages[0].role")]
    [InlineData("""{"messages":[{"role":"user","content":5}]}""", "invalid_type", "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":[]}]}""", "invalid_value", "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":["x"]}]}""", "invalid_type", "messages[0].content[0]")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"text"}]}]}""", "missing_required_parameter", "messages[0].content[0].text")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}""", "unsupported_parameter", "messages[0].content[0].type")]
    [InlineData("""{"messages":[{"role":"user","content":"x","name":"bob"}]}""", "unsupported_parameter", "messages[0].name")]
    [InlineData("""{"messages":[{"role":"user","content":"x","color":"red"}]}""", "unknown_parameter", "messages[0].color")]
    [InlineData("""{"messages":[{"role":"assistant","content":"x","tool_calls":[{}]}]}""", "unsupported_parameter", "messages[0].tool_calls")]
    [InlineData("""{"messages":[{"role":"user","content":"\udc00"}]}""", "invalid_value", "messages[0].content")]
    public async Task Chat_BadMessages_AreRefusedByPath(string body, string code, string name) => await AssertRefusedAsync(body, code, name);

    [Theory]
    [InlineData("", 1, 1)]
    [InlineData("{", 1, 2)]
    [InlineData("{\n \"messages\": [\n  oops\n]}", 3, 3)]
    [InlineData("{\"messages\":[],}", 1, 16)]
    [InlineData("{} {}", 1, 4)]
    public async Task Chat_BrokenJson_IsRefusedWithLineAndByte(string body, int line, int column)
    {
        using HttpResponseMessage response = await server.PostAsync(Chat, body);
        JsonElement error = await response.AssertErrorAsync(400, "invalid_json");
        Assert.Contains($"(line {line}, byte {column})", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Chat_NotAnObject_IsRefused()
    {
        using HttpResponseMessage response = await server.PostAsync(Chat, "[1]");
        await response.AssertErrorAsync(400, "invalid_type");
    }

    [Fact]
    public async Task Chat_FieldGivenTwice_IsRefused()
    {
        using HttpResponseMessage response = await server.PostAsync(Chat, $"{{\"temperature\":0,\"temperature\":1,{Hello}}}");
        JsonElement error = await response.AssertErrorAsync(400, "invalid_json");
        Assert.Contains("temperature", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Chat_NestedTooDeep_IsRefused()
    {
        using HttpResponseMessage response = await server.PostAsync(Chat, $"{{\"metadata\":{new string('[', 100_000)}{new string(']', 100_000)},{Hello}}}");
        await response.AssertErrorAsync(400, "invalid_json");
    }

    [Theory]
    [InlineData("")]
    [InlineData("text/plain")]
    [InlineData("application/x-www-form-urlencoded")]
    [InlineData("application/json; charset=utf-16")]
    public async Task Chat_WrongContentType_IsRefused(string contentType)
    {
        using HttpResponseMessage response = await server.PostAsync(Chat, $"{{{Hello}}}", contentType);
        await response.AssertErrorAsync(415, "unsupported_media_type");
    }

    [Theory]
    [InlineData("user", "\xff\xfe")]
    [InlineData("user", "\xc0\xaf")]
    [InlineData("model", "\xed\xa0\x80")]
    public async Task Chat_BodyIsNotUtf8_IsRefusedAlsoWhereTheTextHasNoEffect(string field, string bytes)
    {
        ByteArrayContent content = new([.. Encoding.UTF8.GetBytes($"{{{Hello},\"{field}\":\""), .. Encoding.Latin1.GetBytes(bytes), .. "\"}"u8]);
        content.Headers.ContentType = new("application/json");
        using HttpResponseMessage response = await server.Http.PostAsync(Chat, content, TestContext.Current.CancellationToken);
        await response.AssertErrorAsync(400, "invalid_utf8");
        Assert.Null(host.LastRequest);
    }

    [Fact]
    public async Task Chat_CompressedBody_IsRefused()
    {
        StringContent content = new($"{{{Hello}}}", Encoding.UTF8, "application/json");
        content.Headers.ContentEncoding.Add("gzip");
        using HttpResponseMessage response = await server.Http.PostAsync(Chat, content, TestContext.Current.CancellationToken);
        await response.AssertErrorAsync(415, "unsupported_media_type");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Chat_BodyAboveTheLimit_IsRefused(bool chunked)
    {
        await using ApiServer small = await ApiServer.StartAsync(host, o => o.MaxBodyBytes = 2000);
        foreach ((int padding, int status) in new[] { (100, 200), (2000, 413), (10_000_000, 413) })
        {
            HttpRequestMessage request = new(HttpMethod.Post, Chat)
            {
                Content = new StringContent($"{{\"user\":\"{new string('x', padding)}\",{Hello}}}", Encoding.UTF8, "application/json"),
                Headers = { TransferEncodingChunked = chunked },
            };
            using HttpResponseMessage response = await small.Http.SendAsync(request, TestContext.Current.CancellationToken);
            if (status == 200) Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            else await response.AssertErrorAsync(status, "request_too_large");
        }
    }

    [Fact]
    public async Task Chat_BodyJustBelowTheDefaultLimit_IsAnswered()
    {
        string long32 = new('x', ApiOptions.DefaultMaxBodyBytes - 100);
        using HttpResponseMessage response = await server.PostAsync(Chat, $"{{\"user\":\"{long32}\",{Hello}}}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        using HttpResponseMessage tooLong = await server.PostAsync(Chat, $"{{\"user\":\"{long32 + new string('x', 200)}\",{Hello}}}");
        await tooLong.AssertErrorAsync(413, "request_too_large");
    }

    [Theory]
    [InlineData("""{"input":5}""", "invalid_type", "input")]
    [InlineData("""{}""", "missing_required_parameter", "input")]
    [InlineData("""{"input":""}""", "invalid_value", "input")]
    [InlineData("""{"input":[]}""", "invalid_value", "input")]
    [InlineData("""{"input":["a",""]}""", "invalid_value", "input[1]")]
    [InlineData("""{"input":["a",null]}""", "invalid_type", "input[1]")]
    [InlineData("""{"input":[1,2,3]}""", "unsupported_parameter", "input")]
    [InlineData("""{"input":[[1,2,3]]}""", "unsupported_parameter", "input")]
    [InlineData("""{"input":"a","encoding_format":"hex"}""", "invalid_value", "encoding_format")]
    [InlineData("""{"input":"a","dimensions":64}""", "unsupported_parameter", "dimensions")]
    [InlineData("""{"input":"a","colour":1}""", "unknown_parameter", "colour")]
    public async Task Embeddings_BadRequest_IsRefusedByName(string body, string code, string name) =>
        await AssertRefusedAsync(body, code, name, "/v1/embeddings");

    [Theory]
    [InlineData("GET", "/v1/chat/completions", "POST")]
    [InlineData("DELETE", "/v1/embeddings", "POST")]
    [InlineData("POST", "/v1/models", "GET, HEAD")]
    [InlineData("DELETE", "/v1/models/scripted", "GET, HEAD")]
    [InlineData("PUT", "/health", "GET, HEAD")]
    [InlineData("POST", "/", "GET, HEAD")]
    public async Task AnyPath_WrongMethod_Is405WithTheMethodsItTakes(string method, string path, string allowed)
    {
        using HttpResponseMessage response = await server.Http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path), TestContext.Current.CancellationToken);
        await response.AssertErrorAsync(405, "method_not_allowed");
        Assert.Equal(allowed, string.Join(", ", response.Content.Headers.Allow));
    }

    [Theory]
    [InlineData("GET", "/nothing")]
    [InlineData("POST", "/v1/completions")]
    [InlineData("GET", "/v1")]
    [InlineData("GET", "/page/../../etc/passwd")]
    [InlineData("GET", "/page/none.js")]
    public async Task AnyPath_Unknown_Is404(string method, string path)
    {
        using HttpResponseMessage response = await server.Http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path), TestContext.Current.CancellationToken);
        await response.AssertErrorAsync(404, "not_found");
    }

    async Task AssertRefusedAsync(string body, string code, string name, string path = Chat)
    {
        using HttpResponseMessage response = await server.PostAsync(path, body);
        JsonElement error = await response.AssertErrorAsync(400, code, name);
        Assert.Contains(name, error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Null(host.LastRequest);
    }
}
