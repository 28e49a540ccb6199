using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using LongCtx.Client.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace LongCtx.Api.Tests;

/// <summary>The page over a server that keeps conversations, with the small model: its window of 256 tokens overflows within seconds.</summary>
public sealed class StoredPageTests(Browser browser) : IClassFixture<Browser>, IAsyncLifetime
{
    readonly RealServer server = new();
    readonly List<string> problems = [];

    public ValueTask InitializeAsync() => server.InitializeAsync();

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Page_ReloadedInTheMiddleOfAReply_GoesOnWithoutLosingACharacter()
    {
        IPage page = await OpenAsync();
        await page.GetByLabel("System prompt").FillAsync("Be brief.");
        await SayAsync(page, "It was a dark and stormy night");
        await TextAsync(page, longerThan: 100);
        await page.ReloadAsync();
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync("It was a dark and stormy night");
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Stop" })).ToBeVisibleAsync();
        await TextAsync(page, longerThan: 1500);
        await Expect(page.Locator(".message.user .tag")).ToContainTextAsync("left"); // the window is 256 tokens
        await Expect(page.Locator("#fill")).ToHaveTextAsync("full, moving on");
        await Expect(page.Locator("#evicted")).Not.ToHaveTextAsync("0");
        await Expect(page.Locator("#visible")).ToHaveTextAsync(new Regex("^2[0-9]{2}$")); // of 256: as full as the policy keeps it
        await Expect(page.Locator(".cursor")).ToHaveCountAsync(1);
        await Browser.KeepAsync(page, "conversation-light");
        await StopAsync(page);
        await Expect(page.Locator("#speed")).Not.ToHaveTextAsync("–");
        await AssertJournalAsync(page);
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_ServerRestarted_SaysSoAndGoesOnWithoutLosingACharacter()
    {
        IPage page = await OpenAsync();
        await SayAsync(page, "Once upon a time");
        await TextAsync(page, longerThan: 100);
        await server.StopAsync();
        await Expect(page.Locator("#connection")).ToContainTextAsync("The connection is lost");
        await Browser.KeepAsync(page, "conversation-lost");
        int before = (await TextAsync(page, longerThan: 100)).Length;
        await server.StartAsync();
        await Expect(page.Locator("#connection")).ToBeHiddenAsync();
        await TextAsync(page, longerThan: before + 100);
        await StopAsync(page);
        await Expect(page.Locator(".message.assistant")).ToHaveCountAsync(1);
        await AssertJournalAsync(page);
    }

    [Fact]
    public async Task Page_List_OpensContinuesAndDeletesConversations()
    {
        IPage page = await OpenAsync(dark: true);
        await SayAsync(page, "The first one");
        await TextAsync(page, longerThan: 20);
        await StopAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "New chat" }).ClickAsync();
        await Expect(page.Locator(".message")).ToHaveCountAsync(0);
        await SayAsync(page, "The second one");
        await TextAsync(page, longerThan: 20);
        await StopAsync(page);
        await Expect(page.Locator("#conversations a")).ToHaveTextAsync(["The second one", "The first one"]);

        await page.GetByRole(AriaRole.Link, new() { Name = "The first one" }).ClickAsync();
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync("The first one");
        await SayAsync(page, "And then?");
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync(["The first one", "And then?"]);
        await Expect(page.Locator(".message.assistant")).ToHaveCountAsync(2);
        await StopAsync(page);
        await Expect(page.Locator("#cached-tokens")).Not.ToHaveTextAsync("0");
        await Browser.KeepAsync(page, "conversations-dark");
        await page.SetViewportSizeAsync(390, 844);
        await page.GetByRole(AriaRole.Button, new() { Name = "Conversations" }).ClickAsync();
        await Expect(page.GetByRole(AriaRole.Link, new() { Name = "The second one" })).ToBeVisibleAsync();
        Assert.Equal(390, await page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
        await Browser.KeepAsync(page, "conversations-phone");

        page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Delete The first one" }).ClickAsync();
        await Expect(page.Locator("#conversations a")).ToHaveTextAsync(["The second one"]);
        await Expect(page.Locator(".message")).ToHaveCountAsync(0);
        Assert.Empty(problems);
    }

    async Task<IPage> OpenAsync(bool dark = false)
    {
        IPage page = await browser.OpenAsync(server.Address, dark: dark);
        page.PageError += (_, error) => problems.Add(error);
        page.Console += (_, message) =>
        {
            if (message.Type == "error") problems.Add(message.Text);
        };
        // Only a reply that does not end by itself can be interrupted for certain.
        await page.RouteAsync("**/v1/responses", route =>
        {
            JsonObject body = JsonNode.Parse(route.Request.PostData!)!.AsObject();
            body["logit_bias"] = new JsonObject(server.StopTokens.Select(id => KeyValuePair.Create<string, JsonNode?>(id.ToString(CultureInfo.InvariantCulture), -100)));
            return route.ContinueAsync(new() { PostData = Encoding.UTF8.GetBytes(body.ToJsonString()) });
        });
        await Expect(page.GetByRole(AriaRole.Navigation, new() { Name = "Conversations" })).ToBeVisibleAsync();
        return page;
    }

    static async Task SayAsync(IPage page, string text)
    {
        await page.GetByLabel("Message").FillAsync(text);
        await page.GetByLabel("Message").PressAsync("Enter");
    }

    static async Task StopAsync(IPage page)
    {
        ILocator stop = page.GetByRole(AriaRole.Button, new() { Name = "Stop" });
        await Expect(stop).ToBeVisibleAsync();
        await stop.ClickAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Send" })).ToBeVisibleAsync();
    }

    /// <summary>The newest reply when it has grown so long. The page's content policy forbids waiting inside it.</summary>
    static async Task<string> TextAsync(IPage page, int longerThan)
    {
        ILocator reply = page.Locator(".message.assistant .body").Last;
        await Expect(reply).ToContainTextAsync(new Regex($"[\\s\\S]{{{longerThan},}}"));
        return await reply.TextContentAsync() ?? "";
    }

    /// <summary>What the page shows is what the server has. Markdown's signs are not shown.</summary>
    async Task AssertJournalAsync(IPage page)
    {
        using HttpClient http = new() { BaseAddress = server.Address };
        string id = new Uri(page.Url).Fragment.TrimStart('#');
        using JsonDocument items = JsonDocument.Parse(await http.GetStringAsync($"/v1/conversations/{id}/items", TestContext.Current.CancellationToken));
        string reply = items.RootElement.GetProperty("data")[0].GetProperty("content")[0].GetProperty("text").GetString()!;
        Assert.Equal(Letters(reply), Letters(await page.Locator(".message.assistant .body").Last.TextContentAsync() ?? ""));
    }

    static string Letters(string text) => string.Concat(text.Where(char.IsLetterOrDigit));
}
