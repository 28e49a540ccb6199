using System.Text.Json;

namespace LongCtx.Api.Tests;

internal static class ApiErrors
{
    /// <summary>The answer is exactly OpenAI's error object with this status and code; returns it.</summary>
    public static async Task<JsonElement> AssertErrorAsync(this HttpResponseMessage response, int status, string code, string? parameter = null)
    {
        JsonElement body = await ApiServer.JsonAsync(response);
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode}: {body}");
        Assert.Equal("error", Assert.Single(body.EnumerateObject()).Name);
        JsonElement error = body.GetProperty("error");
        Assert.Equal(["message", "type", "param", "code"], error.EnumerateObject().Select(p => p.Name));
        Assert.Equal(code, error.GetProperty("code").GetString());
        Assert.Equal(parameter, error.GetProperty("param").GetString());
        Assert.NotEmpty(error.GetProperty("message").GetString()!);
        string type = status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
        Assert.Equal(type, error.GetProperty("type").GetString());
        Assert.True(response.Headers.Contains("x-request-id"));
        return error;
    }
}
