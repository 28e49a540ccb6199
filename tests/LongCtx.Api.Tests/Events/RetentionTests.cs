using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>A server that keeps few events: what is forgotten is named as a gap, and never answered differently from before.</summary>
public sealed class RetentionTests
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WhatIsNotRetained_IsAGap_AndTheConversationGoesOn()
    {
        const int Retained = 12;
        string directory = Directory.CreateTempSubdirectory("longctx-api").FullName;
        try
        {
            List<string> responses = [];
            string id, newest;
            await using (LiveServer server = await LiveServer.StartAsync(directory, retainEvents: Retained))
            {
                id = await server.CreateAsync();
                for (int i = 0; i < 8; i++) responses.Add((await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 120)).GetProperty("id").GetString()!);
                newest = await ReadStreamAsync(server, responses[^1]);
            }

            await using (LiveServer server = await LiveServer.StartAsync(directory, retainEvents: Retained))
            {
                ConversationInfo info = await server.Host.GetConversationAsync("default", id, Cancellation);
                Assert.InRange(info.FirstSeq, 2, info.Seq - Retained + 1);
                using (SseReader events = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events"))
                {
                    SseEvent gap = (await events.NextEventAsync())!;
                    Assert.Equal(("gap", info.FirstSeq - 1, info.FirstSeq), (gap.Name, long.Parse(gap.Id!), gap.Data.GetProperty("first").GetInt64()));
                    Assert.Equal($"{info.FirstSeq}", (await events.NextEventAsync())!.Id);
                }

                using (SseReader events = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=20"))
                {
                    SseEvent gap = (await events.NextEventAsync())!;
                    Assert.Equal(("gap", info.FirstSeq), (gap.Name, gap.Data.GetProperty("first").GetInt64()));
                    Assert.Equal($"{info.FirstSeq}", (await events.NextEventAsync())!.Id);
                }
                using (SseReader forgotten = await server.OpenStreamAsync("GET", $"/v1/conversations/{id}/events?turns=1&before=2"))
                    Assert.Equal(["gap"], (await forgotten.AllEventsAsync()).Select(e => e.Name));

                await server.AssertErrorAsync("GET", $"/v1/responses/{responses[0]}", null, 410, "gap");
                await server.AssertErrorAsync("GET", $"/v1/responses/{responses[0]}?stream=true&starting_after=3", null, 410, "gap");
                await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/export", null, 400, "invalid_value");
                await server.AssertErrorAsync("POST", $"/v1/conversations/{id}/fork", "{}", 400, "invalid_value", "at");
                Assert.Equal(newest, await ReadStreamAsync(server, responses[^1]));
                JsonElement items = await server.JsonAsync("GET", $"/v1/conversations/{id}/items");
                Assert.True(items.GetProperty("has_more").GetBoolean());
                Assert.Equal("assistant", items.GetProperty("data")[0].GetProperty("role").GetString());
                string last = items.GetProperty("last_id").GetString()!;
                await server.AssertErrorAsync("GET", $"/v1/conversations/{id}/items?after={last}", null, 410, "gap");
                await server.RespondAsync($"\"conversation\":\"{id}\",\"input\":\"go on\"", 8);
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    static async Task<string> ReadStreamAsync(LiveServer server, string response)
    {
        using HttpResponseMessage stream = await server.SendAsync("GET", $"/v1/responses/{response}?stream=true");
        return await stream.Content.ReadAsStringAsync(Cancellation);
    }
}
