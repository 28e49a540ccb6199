using System.Text;
using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>The OpenAPI document: served, kept in the repository, and true.</summary>
public sealed class OpenApiTests(LiveServer server)
{
    const string Update = "UPDATE_OPENAPI";

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    static string Kept => Path.Combine(Repository(), "src", "LongCtx.Api", "openapi.json");

    static string Repository()
    {
        string directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "LongCtx.sln"))) directory = Path.GetDirectoryName(directory) ?? throw new InvalidOperationException("no LongCtx.sln above the tests");
        return directory;
    }

    [Fact]
    public async Task Document_IsTheOneInTheRepository()
    {
        string served = await server.Http.GetStringAsync("/openapi.json", Cancellation) + "\n";
        if (Environment.GetEnvironmentVariable(Update) == "1") await File.WriteAllTextAsync(Kept, served, Cancellation);
        string kept = File.Exists(Kept) ? await File.ReadAllTextAsync(Kept, Cancellation) : "";
        Assert.True(served == kept, $"""
            The API has changed and src/LongCtx.Api/openapi.json has not. If the change is meant, write the new document and commit it:
                {Update}=1 tests/LongCtx.Api.Tests/bin/Release/net10.0/LongCtx.Api.Tests -method "*Document_IsTheOneInTheRepository"
            """);
    }

    [Fact]
    public async Task Document_EveryReference_LeadsSomewhereAndEveryOperationIsDescribed()
    {
        JsonElement document = await server.JsonAsync("GET", "/openapi.json");
        HashSet<string> schemas = [.. document.GetProperty("components").GetProperty("schemas").EnumerateObject().Select(s => s.Name)];
        foreach (string reference in References(document)) Assert.Contains(reference.Split('/')[^1], schemas.Append("api_key"));
        List<string> names = [];
        foreach (JsonProperty operation in document.GetProperty("paths").EnumerateObject().SelectMany(p => p.Value.EnumerateObject()))
        {
            names.Add(operation.Value.GetProperty("operationId").GetString()!);
            Assert.NotEmpty(operation.Value.GetProperty("summary").GetString()!);
            Assert.True(operation.Value.GetProperty("responses").TryGetProperty("default", out _));
        }
        Assert.Equal(names.Distinct(), names);
    }

    static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(p => p.Name == "$ref" ? [p.Value.GetString()!] : References(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };

    /// <summary>A field that the document names is one that the endpoint reads: sent with a wrong type it is refused as that, and not as unknown.</summary>
    [Fact]
    public async Task Document_EveryFieldOfARequest_IsKnownToItsEndpoint()
    {
        JsonElement document = await server.JsonAsync("GET", "/openapi.json");
        JsonElement schemas = document.GetProperty("components").GetProperty("schemas");
        int checkedFields = 0;
        foreach (JsonProperty path in document.GetProperty("paths").EnumerateObject())
        {
            foreach (JsonProperty operation in path.Value.EnumerateObject().Where(o => o.Value.TryGetProperty("requestBody", out _)))
            {
                if (!operation.Value.GetProperty("requestBody").GetProperty("content").TryGetProperty("application/json", out JsonElement json)) continue;
                JsonElement shape = schemas.GetProperty(json.GetProperty("schema").GetProperty("$ref").GetString()!.Split('/')[^1]);
                string[] required = shape.TryGetProperty("required", out JsonElement names) ? [.. names.EnumerateArray().Select(n => n.GetString()!)] : [];
                string url = path.Name.Replace("{id}", await server.CreateAsync(), StringComparison.Ordinal);
                foreach (JsonProperty field in shape.GetProperty("properties").EnumerateObject())
                {
                    // false for a flag's neighbour, an object that holds nothing for everything else: never what is asked for.
                    string wrong = field.Value.GetRawText().Contains("boolean", StringComparison.Ordinal) ? "5" : "{\"\":5}";
                    using HttpResponseMessage response = await server.SendAsync(operation.Name.ToUpperInvariant(), url, Body(required, field.Name, wrong));
                    JsonElement error = (await ApiServer.JsonAsync(response)).GetProperty("error");
                    Assert.Equal(400, (int)response.StatusCode);
                    Assert.True(error.GetProperty("code").GetString() is "invalid_type" or "invalid_value" or "unknown_parameter" or "missing_required_parameter", error.GetRawText());
                    string parameter = error.GetProperty("param").GetString()!;
                    Assert.True(parameter.StartsWith(field.Name, StringComparison.Ordinal), $"{path.Name}: {field.Name} is wrong, and {parameter} is refused: {error}");
                    Assert.False(parameter == field.Name && error.GetProperty("code").GetString() == "unknown_parameter", $"{path.Name} does not know its documented field {field.Name}");
                    checkedFields++;
                }
            }
        }
        Assert.True(checkedFields > 40, $"only {checkedFields} fields");
    }

    static string Body(string[] required, string field, string value)
    {
        StringBuilder body = new("{");
        foreach (string name in required.Where(n => n != field))
        {
            string right = name switch
            {
                "messages" or "items" => """[{"role":"user","content":"x"}]""",
                "metadata" => "{}",
                _ => "\"x\"",
            };
            body.Append($"\"{name}\":{right},");
        }
        return body.Append($"\"{field}\":{value}}}").ToString();
    }
}
