using System.Net;
using System.Net.Http.Headers;
using System.Text;
using LongCtx.Api;

namespace LongCtx.Silo.Tests;

public sealed class DashboardTests
{
    [Theory]
    [InlineData(null, HttpStatusCode.Unauthorized)]
    [InlineData("wrong", HttpStatusCode.Unauthorized)]
    [InlineData("tenant", HttpStatusCode.Unauthorized)]
    [InlineData("operator", HttpStatusCode.OK)]
    public async Task OnlyAnOperatorsKey_OpensIt(string? who, HttpStatusCode expected)
    {
        (string operatorSecret, ApiKey operatorKey) = ApiKey.New(Dashboard.Operator);
        (string tenantSecret, ApiKey tenantKey) = ApiKey.New("alice");
        string directory = Directory.CreateTempSubdirectory("longctx-dashboard").FullName;
        string keys = $$"""[{"tenant": "{{operatorKey.Tenant}}", "sha256": "{{operatorKey.Sha256}}"}, {"tenant": "alice", "sha256": "{{tenantKey.Sha256}}"}]""";
        await using SiloChild silo = new("--model", "pg19-7m", "--threads", "1", "--data", directory, "--keys", keys);
        await silo.StartAsync();
        string? secret = who switch { null => null, "tenant" => tenantSecret, "operator" => operatorSecret, _ => who };
        if (secret is not null) silo.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes("me:" + secret)));
        foreach (string path in (string[])["/dashboard/", "/dashboard/DashboardCounters"])
        {
            using HttpResponseMessage answer = await silo.Client.GetAsync(path, TestContext.Current.CancellationToken);
            Assert.Equal(expected, answer.StatusCode);
        }

        Assert.Equal(0, await silo.TerminateAsync());
        Directory.Delete(directory, recursive: true);
    }
}
