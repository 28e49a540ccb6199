using System.Globalization;
using System.Net.Http.Json;
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

    [Fact]
    public async Task Page_LongConversation_OpensWithItsNewestTurnsAndShowsEarlierOnesOnDemand()
    {
        const int Turns = 45, AtOnce = 20;
        string id = await FeedAsync(Turns);
        IPage page = await OpenAsync("#" + id);
        ILocator messages = page.Locator(".message.user .body"), button = page.GetByRole(AriaRole.Button, new() { Name = "Show earlier" });
        await Expect(messages).ToHaveCountAsync(AtOnce);
        List<string> asked = [];
        page.Request += (_, request) =>
        {
            if (request.Url.Contains("/events?", StringComparison.Ordinal)) asked.Add(new Uri(request.Url).Query);
        };
        await page.ReloadAsync();
        await Expect(messages).ToHaveTextAsync(Said(Turns - AtOnce + 1, Turns));
        Assert.Equal(["?turns=20"], asked);
        await Expect(page.Locator("#capacity")).ToHaveTextAsync("of 256 tokens"); // the journal says so in its first event alone, which was not read
        await Expect(page.Locator("#fill")).ToHaveTextAsync("full, moving on");

        await page.RouteAsync("**/events?*before=*", route => route.AbortAsync(), new() { Times = 1 });
        await button.ClickAsync();
        ILocator again = page.GetByRole(AriaRole.Button, new() { Name = "Try again" });
        await Expect(again).ToBeEnabledAsync();
        problems.Clear(); // Chromium has told of the broken connection
        await again.ScrollIntoViewIfNeededAsync();
        float before = await PlaceAsync(messages.First);
        await Browser.KeepAsync(page, "earlier-light");
        await again.ClickAsync();
        await Expect(messages).ToHaveTextAsync(Said(Turns - 2 * AtOnce + 1, Turns));
        Assert.InRange(await PlaceAsync(messages.Nth(AtOnce)), before - 2, before + 2);
        await button.ClickAsync();
        await Expect(messages).ToHaveTextAsync(Said(1, Turns));
        await Expect(button).ToBeHiddenAsync();
        await Expect(page.Locator(".message").First.Locator(".tag")).ToContainTextAsync("left");
        await Expect(page.Locator(".edge")).ToHaveCountAsync(1);
        Assert.Equal(["?turns=20", "?turns=20&before=26", "?turns=20&before=26", "?turns=20&before=6"], asked);

        // It goes on where it was, also over another connection.
        await server.StopAsync();
        await Expect(page.Locator("#connection")).ToBeVisibleAsync();
        await server.StartAsync();
        await Expect(page.Locator("#connection")).ToBeHiddenAsync();
        await SayAsync(page, "And now?");
        await Expect(messages).ToHaveTextAsync([.. Said(1, Turns), "And now?"]);
        await TextAsync(page, longerThan: 20);
        await StopAsync(page);
        await Expect(page.Locator(".message.assistant")).ToHaveCountAsync(1);
        await AssertJournalAsync(page);
    }

    [Fact]
    public async Task Page_JournalRewound_ShowsItsNewestTurnsAnew()
    {
        const int Turns = 25;
        string id = await FeedAsync(Turns);
        IPage page = await OpenAsync("#" + id, dark: true);
        ILocator messages = page.Locator(".message.user .body"), button = page.GetByRole(AriaRole.Button, new() { Name = "Show earlier" });
        await button.ScrollIntoViewIfNeededAsync();
        await Browser.KeepAsync(page, "earlier-dark");
        await button.ClickAsync();
        await Expect(messages).ToHaveTextAsync(Said(1, Turns));
        await page.RouteAsync("**/events?after=*", route => route.FulfillAsync(new()
        {
            ContentType = "text/event-stream",
            Body = $$"""
                id: 3
                event: rewound
                data: {"conversation":"{{id}}","head":3}


                """,
        }), new() { Times = 1 });
        await server.StopAsync();
        await Expect(page.Locator("#connection")).ToBeVisibleAsync();
        await server.StartAsync();
        await Expect(messages).ToHaveTextAsync(Said(6, Turns));
        await Expect(button).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Page_EarlierTurnsAreNoLongerKept_SaysSoInTheirPlace()
    {
        const int Turns = 25;
        string id = await FeedAsync(Turns);
        IPage page = await OpenAsync("#" + id);
        await page.RouteAsync("**/events?*before=*", route => route.FulfillAsync(new()
        {
            ContentType = "text/event-stream",
            Body = $$"""
                id: 9
                event: gap
                data: {"conversation":"{{id}}","first":10}


                """,
        }));
        ILocator button = page.GetByRole(AriaRole.Button, new() { Name = "Show earlier" });
        await button.ClickAsync();
        await Expect(page.Locator("#transcript > *").First).ToHaveTextAsync("what was said before is no longer kept");
        await Expect(button).ToBeHiddenAsync();
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync(Said(6, Turns));
        Assert.Empty(problems);
    }

    /// <summary>A conversation of so many appends, which are turns without a reply.</summary>
    async Task<string> FeedAsync(int turns)
    {
        using HttpClient http = new() { BaseAddress = server.Address };
        using HttpResponseMessage created = await http.PostAsJsonAsync("/v1/conversations", new { }, TestContext.Current.CancellationToken);
        string id = (await created.Content.ReadFromJsonAsync<JsonElement>(TestContext.Current.CancellationToken)).GetProperty("id").GetString()!;
        foreach (string text in Said(1, turns))
        {
            object[] items = [new { role = "user", content = text }];
            using HttpResponseMessage added = await http.PostAsJsonAsync($"/v1/conversations/{id}/items", new { items, wait = true }, TestContext.Current.CancellationToken);
            added.EnsureSuccessStatusCode();
        }
        return id;
    }

    static string[] Said(int first, int last) => [.. Enumerable.Range(first, last - first + 1).Select(i => $"This is message number {i}.")];

    static async Task<float> PlaceAsync(ILocator element) => (await element.BoundingBoxAsync())!.Y;

    async Task<IPage> OpenAsync(string fragment = "", bool dark = false)
    {
        IPage page = await browser.OpenAsync(new Uri(server.Address, fragment), dark: dark);
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

    /// <summary>A digit may be the number of a list, which the browser draws itself.</summary>
    static string Letters(string text) => string.Concat(text.Where(char.IsLetter));
}
