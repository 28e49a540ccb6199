using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LongCtx.Client.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace LongCtx.Api.Tests;

/// <summary>What the page shows of a conversation that learns from its own text.</summary>
public sealed class AdapterPageTests(Browser browser) : IClassFixture<Browser>, IAsyncLifetime
{
    readonly RealServer server = new();
    readonly List<string> problems = [];

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => server.InitializeAsync();

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Switch_OnANewChat_MakesAConversationThatLearnsAndOffEndsIt()
    {
        IPage page = await OpenAsync(server);
        ILocator switched = page.GetByRole(AriaRole.Switch, new() { Name = "Adaptation" }), state = page.Locator("#adapter-state");
        await Expect(state).ToHaveTextAsync("The model stays as it is.");
        await switched.CheckAsync();
        await Expect(state).ToHaveTextAsync("The model adapts to this text once the window is full.");
        await page.GetByLabel("Message").FillAsync("It was a dark and stormy night");
        await page.GetByLabel("Message").PressAsync("Enter");
        await Expect(page.Locator("#conversations a")).ToHaveCountAsync(1);
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Send" })).ToBeVisibleAsync();
        await Expect(switched).ToBeCheckedAsync();
        string id = new Uri(page.Url).Fragment.TrimStart('#');
        Assert.True((await AdapterAsync(server, id)).GetProperty("enabled").GetBoolean());

        await switched.UncheckAsync();
        await Expect(state).ToHaveTextAsync("The model stays as it is.");
        await Expect(switched).ToBeEnabledAsync();
        Assert.False((await AdapterAsync(server, id)).GetProperty("enabled").GetBoolean());

        // What somebody else does is seen at once, and kept when it is switched off and on.
        await PostAsync(server, $"/v1/conversations/{id}/adapter", """{"rank":4,"start_after":5000}""");
        await Expect(switched).ToBeCheckedAsync();
        await Expect(state).ToHaveTextAsync("The model adapts to this text from 5,000 tokens on.");
        await switched.UncheckAsync();
        await Expect(switched).ToBeEnabledAsync();
        await switched.CheckAsync();
        await Expect(state).ToHaveTextAsync("The model adapts to this text from 5,000 tokens on.");
        await page.GetByRole(AriaRole.Button, new() { Name = "New chat" }).ClickAsync();
        await Expect(switched).Not.ToBeCheckedAsync();
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Curve_OfAJournalThatLearned_HasEveryChunkAndTheReasonOfARejection()
    {
        string id = await ImportAsync(server);
        foreach ((int width, bool dark) in ((int, bool)[])[(1280, false), (1280, true), (390, false), (390, true)])
        {
            IPage page = await OpenAsync(server, "#" + id, width, dark);
            if (width < 900) await page.GetByRole(AriaRole.Button, new() { Name = "Window and settings" }).ClickAsync();
            ILocator plot = page.GetByRole(AriaRole.Img, new() { Name = "Loss by chunk" });
            await Expect(plot.Locator("circle.lora")).ToHaveCountAsync(3);
            await Expect(plot.Locator("path.rejected")).ToHaveCountAsync(1);
            await Expect(plot.Locator("g", new() { Has = page.Locator(".rejected") }).Locator("title")).ToHaveTextAsync(
                $"Tokens 512 to 768: loss 3.300, base model 3.600. Rejected: {LearnedJournal.Reason}");
            await Expect(plot.Locator("polyline.lora")).ToHaveAttributeAsync("points", "60.3,8.0 120.8,50.9 181.3,93.7 241.8,108.0");
            await Expect(page.Locator("#adapter-gain")).ToHaveTextAsync("22.1 %");
            await Expect(page.Locator("#adapter-version")).ToHaveTextAsync("base");
            await Expect(page.Locator("#adapter-learned")).ToHaveTextAsync("1,024");
            await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Forget what was learned" })).ToBeHiddenAsync(); // it is forgotten
            Assert.Equal(width, await page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
            await page.Locator("#adapter-learned").ScrollIntoViewIfNeededAsync();
            await Browser.KeepAsync(page, $"adapter-{width}-{(dark ? "dark" : "light")}");
        }
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Curve_ServerRemembersNothing_IsDrawnFromTheJournal()
    {
        string id = await ImportAsync(server);
        JsonNode forgotten = JsonNode.Parse((await AdapterAsync(server, id)).GetRawText())!;
        forgotten["history"] = new JsonArray();
        IPage page = await OpenAsync(server);
        await page.RouteAsync("**/adapter", route => route.FulfillAsync(new() { ContentType = "application/json", Body = forgotten.ToJsonString() }));
        await page.GotoAsync(new Uri(server.Address, "#" + id).ToString());
        await Expect(page.Locator("#adapter-plot circle.lora")).ToHaveCountAsync(3);
        await Expect(page.Locator("#adapter-plot path.rejected")).ToHaveCountAsync(1);
        await page.GetByRole(AriaRole.Button, new() { Name = "New chat" }).ClickAsync();
        await Expect(page.Locator("#adapter-curve")).ToBeHiddenAsync();
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Forget_OfWhatWasLearned_AsksAndResets()
    {
        await using RealServer learned = new() { Around = LearnedHost.Around };
        await learned.InitializeAsync();
        string id = await CreateAsync(learned, """{"adapter":{}}""");
        IPage page = await OpenAsync(learned, "#" + id);
        await Expect(page.Locator("#adapter-state")).ToHaveTextAsync("The model adapts to this text.");
        await Expect(page.Locator("#adapter-version")).ToHaveTextAsync("3");
        ILocator forget = page.GetByRole(AriaRole.Button, new() { Name = "Forget what was learned" });
        await forget.ScrollIntoViewIfNeededAsync();
        await Browser.KeepAsync(page, "adapter-version");
        bool accept = false;
        List<string> asked = [], sent = [];
        page.Dialog += (_, dialog) =>
        {
            asked.Add(dialog.Message);
            _ = accept ? dialog.AcceptAsync() : dialog.DismissAsync();
        };
        page.Request += (_, request) =>
        {
            if (request.Method != "GET") sent.Add($"{request.Method} {new Uri(request.Url).AbsolutePath}");
        };
        await forget.ClickAsync();
        await page.GetByRole(AriaRole.Switch, new() { Name = "Adaptation" }).ClickAsync();
        Assert.Equal(2, asked.Count);
        Assert.Empty(sent);
        await Expect(page.GetByRole(AriaRole.Switch, new() { Name = "Adaptation" })).ToBeCheckedAsync();

        accept = true;
        await page.RunAndWaitForResponseAsync(() => forget.ClickAsync(), response => response.Url.EndsWith("/adapter/reset", StringComparison.Ordinal) && response.Ok);
        await Expect(forget).ToBeEnabledAsync();
        Assert.Equal([$"POST /v1/conversations/{id}/adapter/reset"], sent);

        await page.RouteAsync("**/adapter", route => route.Request.Method == "DELETE" ? route.FulfillAsync(new()
        {
            Status = 409, ContentType = "application/json", Body = """{"error":{"message":"It cannot be done now.","type":"invalid_request_error","param":null,"code":"conflict"}}""",
        }) : route.ContinueAsync());
        await page.GetByRole(AriaRole.Switch, new() { Name = "Adaptation" }).ClickAsync();
        await Expect(page.Locator("#adapter-error")).ToHaveTextAsync("It cannot be done now.");
        await Expect(page.GetByRole(AriaRole.Switch, new() { Name = "Adaptation" })).ToBeCheckedAsync();
    }

    async Task<IPage> OpenAsync(RealServer at, string fragment = "", int width = 1280, bool dark = false)
    {
        IPage page = await browser.OpenAsync(new Uri(at.Address, fragment), width, dark: dark);
        page.PageError += (_, error) => problems.Add(error);
        page.Console += (_, message) =>
        {
            if (message.Type == "error") problems.Add(message.Text);
        };
        // Short replies: a switch waits for their end.
        await page.RouteAsync("**/v1/responses", route =>
        {
            JsonNode body = JsonNode.Parse(route.Request.PostData!)!;
            body["max_output_tokens"] = 8;
            return route.ContinueAsync(new() { PostData = Encoding.UTF8.GetBytes(body.ToJsonString()) });
        });
        return page;
    }

    static async Task<JsonElement> AdapterAsync(RealServer at, string id)
    {
        using HttpClient http = new() { BaseAddress = at.Address };
        return await http.GetFromJsonAsync<JsonElement>($"/v1/conversations/{id}/adapter", Cancellation);
    }

    static async Task<string> CreateAsync(RealServer at, string body) => (await PostAsync(at, "/v1/conversations", body)).GetProperty("id").GetString()!;

    static async Task<JsonElement> PostAsync(RealServer at, string path, string body, string type = "application/json")
    {
        using HttpClient http = new() { BaseAddress = at.Address };
        using HttpResponseMessage response = await http.PostAsync(path, new StringContent(body, Encoding.UTF8, type), Cancellation);
        JsonElement answer = await ApiServer.JsonAsync(response);
        Assert.True(response.IsSuccessStatusCode, $"{answer}");
        return answer;
    }

    static async Task<string> ImportAsync(RealServer at)
    {
        string id = await CreateAsync(at, """{"items":[{"role":"user","content":"It was a dark and stormy night."}]}""");
        using HttpClient http = new() { BaseAddress = at.Address };
        string[] lines = (await http.GetStringAsync($"/v1/conversations/{id}/export", Cancellation)).TrimEnd('\n').Split('\n');
        string content = string.Join('\n', LearnedJournal.Learn(lines));
        return (await PostAsync(at, "/v1/conversations/import", content, "application/jsonl")).GetProperty("id").GetString()!;
    }
}
