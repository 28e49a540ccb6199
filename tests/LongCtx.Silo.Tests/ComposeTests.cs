using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using LongCtx.Api;
using LongCtx.Engine.Tests;
using LongCtx.Storage.Redis.Tests;

namespace LongCtx.Silo.Tests;

/// <summary>The compose file's own command lines, as plain processes: what it says must start and serve.</summary>
public sealed partial class ComposeTests
{
    [GeneratedRegex(@"^  (?<service>[a-z0-9-]+):\n(?:    .*\n)*?    command: (?<command>.*)$", RegexOptions.Multiline)]
    private static partial Regex Command();

    [Fact]
    public async Task ItsCommands_MakeAClusterThatAnswers()
    {
        Dictionary<string, string> commands = Command().Matches(await File.ReadAllTextAsync(Path.Combine(Repository.Root, "deploy/docker-compose.yml")))
            .ToDictionary(m => m.Groups["service"].Value, m => m.Groups["command"].Value);
        Assert.Equal(["gateway", "redis", "silo-1", "silo-2"], commands.Keys.Order());
        string[] redisSettings = [.. commands["redis"].Split(' ').Skip(1)];
        await using RedisServer redis = await RedisServer.StartAsync(redisSettings);
        (string secret, ApiKey key) = ApiKey.New("me");
        string directory = Directory.CreateTempSubdirectory("longctx-compose").FullName;
        SiloChild[] silos = [];
        try
        {
            silos = [.. commands.Where(c => c.Key != "redis").Select(c => new SiloChild(Local(c.Key, c.Value)))];
            await Task.WhenAll(silos.Select(s => s.StartAsync()));
            using HttpClient client = silos.Single(s => s.IsGateway).Client;
            client.DefaultRequestHeaders.Authorization = new("Bearer", secret);
            var body = new JsonObject { ["input"] = "Tell me of the sea.", ["max_output_tokens"] = 8 };
            using HttpResponseMessage answer = await client.PostAsJsonAsync("/v1/responses", body, TestContext.Current.CancellationToken);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
            client.DefaultRequestHeaders.Authorization = null;
            Assert.Equal(System.Net.HttpStatusCode.Unauthorized, (await client.GetAsync("/v1/models", TestContext.Current.CancellationToken)).StatusCode);
        }
        finally
        {
            foreach (SiloChild silo in silos) await silo.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }

        // Addresses, ports and directories of this machine instead of the containers'; the tests' model instead of the larger one.
        string[] Local(string service, string command)
        {
            List<string> arguments = [.. command.Split(' ')];
            Set("--redis", redis.Configuration);
            Set("--host", "127.0.0.1");
            Set("--data", Path.Combine(directory, service));
            if (arguments.Contains("--model")) Set("--model", "pg19-7m");
            if (arguments.IndexOf("--urls") is >= 0 and var urls) arguments.RemoveRange(urls, 2);
            if (service == "gateway") arguments.AddRange(["--keys", $$"""[{"tenant": "{{key.Tenant}}", "sha256": "{{key.Sha256}}"}]"""]);
            return [.. arguments];

            void Set(string name, string value) => arguments[arguments.IndexOf(name) + 1] = value;
        }
    }
}
